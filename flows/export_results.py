"""export-results: current answers as Parquet and JSON lines."""

from collections.abc import Iterator

from prefect.runtime import flow_run
from sqlalchemy.orm import Session

from db.labels import current_labels
from flows.artifacts import count_rows, publish
from flows.form_flow import flow
from flows.named_states import names_states
from flows.parameters import ExportedLibrary, Folder
from flows.run_end import completed_with
from flows.run_options import explained
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.job import export_rows
from flows.stages.label_row import LabelRow
from flows.stages.run import recorded_run
from flows.stages.verdict import require_clips
from flows.storage.location import canonical
from flows.tasks import in_tasks


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
