"""tokenize-clips: audio to words."""

from prefect.runtime import flow_run

from flows.artifacts import publish, quarantine_rows
from flows.form_flow import flow
from flows.named_states import names_states
from flows.parameters import Folder
from flows.run_end import completed_with
from flows.run_options import explained
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.job import tokenize_place
from flows.stages.report import quarantined
from flows.stages.run import recorded_run
from flows.stages.verdict import require_clips
from flows.storage.location import canonical
from flows.tasks import batch_threads, in_tasks


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
