"""verify-run: what a run wrote is computed, or read, again and compared."""

from prefect.runtime import flow_run

from flows.artifacts import check_rows, publish
from flows.form_flow import flow
from flows.parameters import RunId, Sample
from flows.run_end import completed_with
from flows.run_options import explained
from flows.run_reference import find_run
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.check import require
from flows.stages.verify import verify_run as verify


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
