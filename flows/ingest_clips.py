"""ingest-clips: which clips there are."""

from prefect.runtime import flow_run

from flows.artifacts.pages import count_rows, publish
from flows.batches import in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import AllowLoss, Folder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.nights.jobs import ingest_place
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.runtime import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(name="ingest-clips", **explained("ingest {prefix}"), description="List a folder or S3 prefix.")
@names_states
def ingest_clips(prefix: Folder, allow_loss: AllowLoss = False) -> dict[str, int]:
    """List a place and record its clips; no object is read."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    with recorded_run(runtime, "ingest-clips", place, {}, flow_run_id=flow_run.id) as run:
        ingest_place(runtime, place, run, in_tasks, allow_loss=allow_loss)
        require_clips(runtime, place, place)
    publish("ingest-clips", place, run, count_rows(run))
    return completed_with(dict(run.counts), run.counts)
