"""tokenize-clips: audio to words."""

from prefect.runtime import flow_run

from flows.artifacts.pages import publish, quarantine_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import Folder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.report import quarantined
from flows.pipeline.nights.jobs import tokenize_place
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.runtime import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(
    name="tokenize-clips",
    **explained("tokenize {prefix}"),
    description="Read, decode and tokenize the listed clips that have no tokens of the codec yet.",
    task_runner=batch_threads(),
)
@names_states
def tokenize_clips(prefix: Folder) -> dict[str, int]:
    """Tokenizes what ingest-clips listed."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    parameters = {"codec": runtime.codec_fingerprint}
    with recorded_run(runtime, "tokenize-clips", place, parameters, flow_run_id=flow_run.id) as run:
        require_clips(runtime, place, place)
        tokenize_place(runtime, place, place, run, in_tasks)
    publish("tokenize-clips", place, run, quarantine_rows(quarantined(runtime, place)))
    return completed_with(dict(run.counts), run.counts)
