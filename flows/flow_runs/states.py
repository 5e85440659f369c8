"""The named states Empty and Doubtful, which lists of runs and alerts show."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.pipeline.runs.verdict import Distrusted, NoClips

P = ParamSpec("P")
R = TypeVar("R")


def with_named_failures(function: Callable[P, R]) -> Callable[P, R]:
    """Make a flow that raises Distrusted end in the failed state of that name, without a retry."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Distrusted as error:
            _end_retries()
            # Prefect raises the state's data to whoever called the flow
            return cast(R, Failed(name=error.state, message=str(error), data=error))

    return run


def completed_empty(data: Any) -> "State[Any]":
    """Return the state of a run that was allowed to find no clips."""
    return Completed(name=NoClips.state, message="no clips, which least_clips 0 allows", data=data)


def _end_retries() -> None:
    """Turn off retries of this run, which would find the same again."""
    run_id = UUID(flow_run.id)
    with get_client(sync_client=True) as client:
        policy = client.read_flow_run(run_id).empirical_policy
        if policy.retries:
            client.update_flow_run(run_id, empirical_policy=policy.model_copy(update={"retries": 0}))
