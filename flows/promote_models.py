"""promote-models: whose answers are the current ones."""

from prefect.runtime import flow_run

from flows.artifacts.pages import cell, publish
from flows.flow_runs.end import completed
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import LibraryName
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.upgrade import promote_models as promote
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="promote-models",
    **explained("promote {library}"),
    description="Make the answers of a library version by the models of the settings the current ones.",
)
def promote_models(library: LibraryName) -> dict[str, str]:
    """They stay current until others are promoted; with the old models set, it switches back."""
    switch, run = promote(shared_runtime(Settings()), library, flow_run_id=flow_run.id)
    publish("promote-models", switch.now, run, [{name: cell(said) for name, said in vars(switch).items()}])
    return completed({"run": str(run.id), **vars(switch)}, f"in use: {switch.now}")
