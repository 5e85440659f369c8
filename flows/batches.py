"""Batches as Prefect tasks; what they did is counted in our tables."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, as_completed
from prefect.logging import get_run_logger
from prefect.states import Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.flow_runs.progress import Progress
from flows.pipeline.nights.jobs import Batches, Step
from flows.pipeline.runs.counts import Counts, sentence
from flows.pipeline.runs.outage import Away
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE, computing_side_by_side


def batch_threads() -> TaskRunner[PrefectFuture[Any]]:
    """Return the task runner of a flow that works on batches."""
    # Prefect declares its runners invariant in their future, which its own decorator does not accept
    return cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE))


@task(task_run_name="{stage} {number}", cache_policy=NO_CACHE, persist_result=False)
def run_batch(stage: str, number: int, step: Step, batch: Sequence[object]) -> Counts | State[Counts]:
    """Run a step on one batch. The step waits out an outage by itself, so the task has no retries."""
    try:
        counts = step(batch)
    except Away as away:
        return cast(State[Counts], Failed(message=str(away), data=away))  # a traceback would say no more
    get_run_logger().debug("%s %s: %s", stage, number, sentence(counts))
    return counts


def in_tasks(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """Run the batches of a stage as tasks of the running flow, a few at a time, and yield their counts.

    A batch that fails does not stop the others, but after an outage no more are started. The error is raised
    when all started batches have ended.
    """
    if not batches:
        return
    failed: list[BaseException] = []
    progress = Progress(stage, sum(map(len, batches)), len(batches))
    for clips, outcome in _outcomes(stage, step, batches):
        progress.add(clips, outcome if isinstance(outcome, Counter) else {})
        if isinstance(outcome, Counter):
            yield outcome
        elif isinstance(outcome, BaseException):
            failed.append(outcome)
    progress.end()
    # what was away explains whatever else failed
    for error in sorted(failed, key=lambda error: not isinstance(error, Away)):
        raise error


def _outcomes(stage: str, step: Step, batches: Batches) -> Iterator[tuple[int, object]]:
    """Yield how many clips each batch had, and what it counted or failed with, as batches end."""
    sizes: dict[UUID, int] = {}
    under_way: list[PrefectFuture[Any]] = []
    waiting, is_away = list(enumerate(batches, start=1)), False
    while under_way or (waiting and not is_away):
        with computing_side_by_side(min(BATCHES_AT_ONCE, len(batches))):
            while waiting and not is_away and len(under_way) < BATCHES_AT_ONCE:
                number, batch = waiting.pop(0)
                under_way.append(run_batch.submit(stage, number, step, batch))
                sizes[under_way[-1].task_run_id] = len(batch)
        ended = next(as_completed(under_way))
        under_way.remove(ended)
        outcome = ended.result(raise_on_failure=False)
        is_away = is_away or isinstance(outcome, Away)
        yield sizes[ended.task_run_id], outcome
