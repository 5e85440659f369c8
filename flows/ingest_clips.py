"""ingest-clips: which clips there are."""

from prefect.runtime import flow_run

from flows.artifacts import count_rows, publish
from flows.form_flow import flow
from flows.named_states import names_states
from flows.parameters import AllowLoss, Folder
from flows.run_end import completed_with
from flows.run_options import explained
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.job import ingest_place
from flows.stages.run import recorded_run
from flows.stages.verdict import require_clips
from flows.storage.location import canonical
from flows.tasks import in_tasks


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
