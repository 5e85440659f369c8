"""A night that makes up for earlier days of its place, each as a night of its own."""

from collections.abc import Iterable
from datetime import date
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from flows.pipeline.runs.outage import Away


def make_up(days: Iterable[date], night: Flow[..., dict[str, Any]]) -> None:
    """Run the nights of these days with the values of this run; one that fails stops no other.

    It fails by itself, in its own state. Where a store or database is away, the days after it wait too.
    """
    logger = get_run_logger()
    for day in days:
        logger.info("no night of %s was completed: it is made up for now", day)
        values = flow_run.parameters | {"day": day.isoformat(), "catch_up_days": 0}
        state = cast("State[Any]", night(**values, return_state=True))
        if not state.is_completed():
            logger.warning("%s is still not done: %s", day, state.message)
        if isinstance(state.result(raise_on_failure=False), Away):
            return
