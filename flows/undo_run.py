"""undo-run: current answers as they were before a run, or before an undoing."""

from prefect.runtime import flow_run

from flows.artifacts.pages import count_rows, publish
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.reference import find_run
from flows.forms import RunId
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="undo-run",
    **explained("undo {run}"),
    description="Take back the answers of a run; undo an undo-run to have them again. Nothing is deleted.",
)
def undo_run(run: RunId) -> dict[str, str | int]:
    """Files that were exported before stay as they are: export-results writes the current answers anew."""
    runtime = shared_runtime(Settings())
    run_id = find_run(runtime, run)
    undone = undo(runtime, run_id, flow_run_id=flow_run.id)
    publish("undo-run", f"run {run_id}", undone, count_rows(undone))
    return completed_with({"run": str(undone.id), **undone.counts}, undone.counts)
