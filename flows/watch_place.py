"""watch-place: bounds beyond which the nights of a place are doubtful."""

from dataclasses import asdict

from prefect.artifacts import create_table_artifact

from db.watches import Bounds
from flows.artifacts.pages import cell
from flows.flow_runs.form_flow import flow
from flows.forms import (
    LeastAgreement,
    LeastUsual,
    MaxOneLabel,
    MaxQuarantined,
    MaxUncertain,
    MostUsual,
    Prefix,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.nights.bounds import set_bounds
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="watch-place",
    flow_run_name="watch {prefix}",
    description="Set bounds beyond which the nights of a place, and of folders in it, end as Doubtful.",
)
def watch_place(
    prefix: Prefix,
    max_quarantined: MaxQuarantined = 1.0,
    max_uncertain: MaxUncertain = 1.0,
    max_one_label: MaxOneLabel = 1.0,
    least_agreement: LeastAgreement = 0.0,
    least_usual: LeastUsual = 0.0,
    most_usual: MostUsual = 0.0,
) -> dict[str, float]:
    """All values of the form count, in place of those that were set before."""
    given = Bounds(max_quarantined, max_uncertain, max_one_label, least_agreement, least_usual, most_usual)
    bounds = asdict(set_bounds(shared_runtime(Settings()), prefix, asdict(given)))
    rows = [{"bound": name, "is": f"{bound:g}"} for name, bound in bounds.items()]
    create_table_artifact(table=rows, key="watch-place-table", description=cell(prefix))
    return bounds
