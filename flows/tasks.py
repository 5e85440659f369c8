"""Batches as Prefect tasks, retried where a second try can help; what they did is counted in our tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.logging import get_run_logger
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from flows.runtime import computing_side_by_side
from flows.stages.counts import Counts
from flows.stages.job import Batches, Step
from flows.stages.retry import can_pass

BATCHES_AT_ONCE = 2
"""While one reads or writes, another computes; both compute on their part of the cores."""


def batch_threads() -> TaskRunner[PrefectFuture[Any]]:
    """The task runner of a flow that works on batches."""
    # Prefect declares its runners invariant in their future, which its own decorator does not accept
    return cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE))


def worth_retrying(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether the error that a batch ended with may pass by itself."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, BaseException) and can_pass(error)


@task(
    task_run_name="{stage} {number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=3,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.5,
    retry_condition_fn=worth_retrying,
)
def run_batch(stage: str, number: int, step: Step, batch: Sequence[object]) -> Counts:
    """One step over one batch."""
    counts = step(batch)
    get_run_logger().info("%s: %s", stage, dict(counts))
    return counts


def in_tasks(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """The batches of a stage as tasks of the running flow, a few at once.

    A batch that fails stops no other: its error is raised when all have ended.
    """
    with computing_side_by_side(min(BATCHES_AT_ONCE, len(batches))):
        futures = [run_batch.submit(stage, n, step, batch) for n, batch in enumerate(batches, start=1)]
    wait(futures)
    done = [future.result(raise_on_failure=False) for future in futures]
    yield from (counts for counts in done if isinstance(counts, Counter))
    for error in done:
        if isinstance(error, BaseException):
            raise error
