"""export-results: current answers as Parquet and JSON lines."""

from collections.abc import Iterator

from prefect.runtime import flow_run
from sqlalchemy.orm import Session

from db.labels import current_labels
from flows.artifacts.pages import count_rows, publish
from flows.batches import in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import ExportedLibrary, Folder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.row import LabelRow
from flows.pipeline.nights.jobs import export_rows
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.runtime import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(
    name="export-results",
    **explained("export {prefix} by {library}"),
    description="Write the current answers of a place under the run's prefix, the manifest last.",
)
@names_states
def export_results(prefix: Folder, library: ExportedLibrary) -> dict[str, str | int | None]:
    """The same answers are never written twice."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    parameters = {"library": library}
    with recorded_run(runtime, "export-results", place, parameters, flow_run_id=flow_run.id) as run:
        require_clips(runtime, place, place)
        export_rows(runtime, lambda session: _rows(session, place, library), run, in_tasks)
    publish("export-results", place, run, count_rows(run))
    return completed_with({"run": str(run.id), "manifest": run.manifest, **run.counts}, run.counts)


def _rows(session: Session, place: str, library: str) -> Iterator[LabelRow]:
    return (LabelRow(**row) for row in current_labels(session, place, library))
