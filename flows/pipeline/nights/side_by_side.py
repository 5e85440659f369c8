"""A few batches at once in threads, for the command line."""

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from itertools import islice

from tqdm import tqdm

from flows.pipeline.nights.jobs import Batches, Step
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE, computing_side_by_side


def side_by_side(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
    """Run a few batches at once, with a progress bar if stderr is a terminal, and yield their counts.

    After an error no more are begun; it is raised when those under way have ended.
    """
    waiting, under_way = iter(batches), dict[Future[Counts], int]()
    with (
        tqdm(desc=stage, total=sum(map(len, batches)), disable=None, leave=False) as bar,
        ThreadPoolExecutor(BATCHES_AT_ONCE) as threads,
    ):
        while True:
            with computing_side_by_side(max(1, min(BATCHES_AT_ONCE, len(batches)))):
                for batch in islice(waiting, BATCHES_AT_ONCE - len(under_way)):
                    under_way[threads.submit(copy_context().run, step, batch)] = len(batch)
            if not under_way:
                return
            ended = next(iter(wait(under_way, return_when=FIRST_COMPLETED).done))
            bar.update(under_way.pop(ended))
            yield ended.result()
