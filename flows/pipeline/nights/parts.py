"""The parts of a night that its shards take when they are free: a slow shard takes fewer."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from db.clips import Selection, count_clips, shard_uris
from db.engine import session_scope
from db.locks import PartitionBusy, partition_lock
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.resources import Runtime

BATCHES_OF_A_PART = 4
PARTS_OF_A_SHARD = 8
"""Most parts for each shard: every shard looks at every part once."""


@dataclass(frozen=True)
class Shard:
    """One of `count` processes that share a night; `number` is from 1."""

    night: UUID
    number: int
    count: int


def work_on_free_parts(
    runtime: Runtime,
    run: OpenRun,
    shard: Shard,
    selection: Selection,
    work: Callable[[Sequence[str]], None],
) -> None:
    """Work on each part of a night that no other shard holds, one after another.

    The part of a shard that died is free again. A part that is done is looked at again and has nothing left.
    """
    with session_scope(runtime.engine) as session:
        clips = count_clips(session, selection)
    count, numbers = _parts(clips // runtime.settings.batch_size, shard)
    for number in numbers:
        key = f"night {shard.night} part {number} of {count}"
        with ExitStack() as held:
            try:
                run.breaker.run(partial(_hold, held, runtime, key))
            except PartitionBusy:
                continue
            work(run.breaker.run(partial(_uris, runtime, selection, number, count)))


def _parts(batches: int, shard: Shard) -> tuple[int, list[int]]:
    """Return how many parts a night has, and all of them from one that no other shard begins with."""
    count = min(max(batches // BATCHES_OF_A_PART, shard.count), PARTS_OF_A_SHARD * shard.count)
    first = (shard.number - 1) * count // shard.count
    return count, [*range(first + 1, count + 1), *range(1, first + 1)]


def _hold(held: ExitStack, runtime: Runtime, key: str) -> None:
    held.enter_context(partition_lock(runtime.database_url, key))


def _uris(runtime: Runtime, selection: Selection, number: int, count: int) -> list[str]:
    with session_scope(runtime.engine) as session:
        return shard_uris(session, selection, number, count)
