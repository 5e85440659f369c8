"""doctor: is everything in place, where the flows run?"""

from flows.artifacts import publish_checks
from flows.examination import examine
from flows.form_flow import flow
from flows.run_end import completed
from flows.run_options import explained
from flows.settings import Settings
from flows.stages.check import require


@flow(
    name="doctor",
    **explained("doctor {now}"),
    description="Check versions, database, storage, models, device, server and workers; say what to do.",
)
def doctor() -> dict[str, str]:
    """Fails where a check does, after all of them are made."""
    checks = list(examine(Settings()))
    publish_checks("doctor", checks)
    require(checks)
    findings = {check.name: check.finding for check in checks}
    return completed(findings, f"all {len(checks)} checks passed")
