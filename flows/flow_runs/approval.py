"""Approval by a person: the run pauses until somebody resumes it in the UI."""

from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run

from flows.forms import APPROVAL_HOURS
from flows.pipeline.nights.plan import NotApproved

APPROVAL_SECONDS = APPROVAL_HOURS * 3600
POLL_SECONDS = 5


def wait_for_approval() -> None:
    """Pause this flow run until it is resumed. Raises NotApproved if nobody does so in time."""
    try:
        pause_flow_run(timeout=APPROVAL_SECONDS, poll_interval=POLL_SECONDS)
    except FlowPauseTimeout as error:
        raise NotApproved(
            f"nobody resumed this run within {APPROVAL_SECONDS / 3600:g} hours, so nothing was done: start "
            "it again, and read its plan in time"
        ) from error
