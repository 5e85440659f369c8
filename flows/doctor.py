"""doctor: is everything in place, where the flows run?"""

from flows.artifacts.pages import publish_checks
from flows.flow_runs.end import completed
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.check import require
from flows.server.health import examine_service


@flow(
    name="doctor",
    **explained("doctor {now}"),
    description="Check versions, database, storage, models, device, server and workers; say what to do.",
)
def doctor() -> dict[str, str]:
    """Fails where a check does, after all of them are made."""
    checks = list(examine_service(Settings()))
    publish_checks("doctor", checks)
    require(checks)
    findings = {check.name: check.finding for check in checks}
    return completed(findings, f"all {len(checks)} checks passed")
