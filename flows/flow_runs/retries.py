"""Retries by Prefect of flow runs that ended because a store or database was down, and of no others."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs import outage


class _IntoRunLog(logging.Filter):
    """Pass log records about outages to the log of the run, if there is one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record has yet to be logged."""
        try:
            get_run_logger().log(record.levelno, record.getMessage())
        except MissingContextError:
            return True
        return False


logging.getLogger(outage.__name__).addFilter(_IntoRunLog())


@contextmanager
def retried_after_outage() -> Iterator[None]:
    """Decorate a flow's function so that the run is retried later, a few times, after a passing error."""
    try:
        yield
    except Exception as error:
        if outage.can_pass(error):
            with suppress(httpx.HTTPError):  # the error itself has to be told
                _ask_for_retry(Settings())
        raise


def _ask_for_retry(settings: Settings) -> None:
    """Let the server schedule this run again, instead of marking it as failed.

    The server retries a run as often as its policy allows, so the policy is set to one more time.
    """
    run_id = UUID(flow_run.id)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(run_id)
        if run.run_count <= settings.outage_retries:
            delay = round(settings.outage_retry_delay)
            policy = run.empirical_policy.model_copy(update={"retries": run.run_count, "retry_delay": delay})
            client.update_flow_run(run_id, empirical_policy=policy)
