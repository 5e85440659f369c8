"""The states that runs end in: Empty and Doubtful by name, and failures told in one sentence."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from prefect import flow_engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed, exception_to_failed_state

from flows.flow_runs.explain import explain
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


def tell_failures_in_sentences() -> None:
    """Make an error's sentence the whole message of a failed state, from now on in this process.

    Prefect puts words of its own in front of it, and no setting leaves them out.
    """
    flow_engine.exception_to_failed_state = _failed_in_a_sentence  # type: ignore[attr-defined, assignment]


async def _failed_in_a_sentence(exc: BaseException, **options: Any) -> State[BaseException]:
    state = await exception_to_failed_state(exc, **options)
    state.message = explain(exc) or state.message
    return state


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
