"""verify-run: what a run wrote is computed, or read, again and compared."""

from prefect.runtime import flow_run

from flows.artifacts.pages import check_rows, publish
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.reference import find_run
from flows.forms import RunId, Sample
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.verify import verify_run as verify
from flows.pipeline.runs.check import require
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="verify-run",
    **explained("verify {run}"),
    description="Encode and answer some clips of a run again, and read its files again: is all as it was?",
)
def verify_run(run: RunId, sample: Sample = 50) -> dict[str, str | int]:
    """Nothing is changed; the flow fails where something differs."""
    runtime = shared_runtime(Settings())
    run_id = find_run(runtime, run)
    checks, verified = verify(runtime, run_id, sample, flow_run_id=flow_run.id)
    publish("verify-run", f"run {run_id}", verified, check_rows(checks))
    require(checks)
    return completed_with({"run": str(verified.id), **verified.counts}, verified.counts)
