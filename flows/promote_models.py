"""promote-models: whose answers are the current ones."""

from prefect.runtime import flow_run

from flows.artifacts import cell, publish
from flows.form_flow import flow
from flows.parameters import LibraryName
from flows.run_end import completed
from flows.run_options import explained
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.generations import promote_models as promote


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
