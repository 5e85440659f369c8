"""Parts of a night: a shard works on all that no other one holds."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from flows.pipeline.nights.jobs import ingest_place
from flows.pipeline.nights.parts import BATCHES_OF_A_PART, PARTS_OF_A_SHARD, Shard, _parts, work_on_free_parts
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import tone, write_clip

CLIPS = 24


@pytest.fixture
def listed(runtime: Runtime, folder: Path) -> str:
    """A listed folder of clips."""
    for number in range(CLIPS):
        write_clip(folder / f"{number}.wav", tone(440, seed=number))
    with recorded_run(runtime, "ingest-clips", str(folder), {}) as run:
        ingest_place(runtime, str(folder), run)
    return folder.as_uri()


def test_a_shard_takes_what_another_one_leaves_but_not_what_it_works_on(
    runtime: Runtime, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.pipeline.nights.parts.BATCHES_OF_A_PART", 1)
    small = Runtime(runtime.settings.model_copy(update={"batch_size": 4}))
    taken: dict[int, list[set[str]]] = {1: [], 2: []}
    with recorded_run(runtime, "test", "night", {}) as run:

        def work(number: int, uris: Sequence[str]) -> None:
            taken[number].append(set(uris))
            if taken == {1: [set(uris)], 2: []}:  # while the first shard works on its first part
                work_on_free_parts(small, run, Shard(run.id, 2, 2), listed, lambda uris: work(2, uris))

        work_on_free_parts(small, run, Shard(run.id, 1, 2), listed, lambda uris: work(1, uris))
    small.close()
    first = taken[1][0]
    assert first
    assert len(taken[2]) == 5
    assert set().union(*taken[2]).isdisjoint(first)
    assert len(set().union(*taken[2])) == CLIPS - len(first)
    assert set().union(*taken[1]) == set().union(*taken[2], first)


@pytest.mark.parametrize("batches", [0, 1, 2, 7, 10, 33, 1_000, 100_000])
@pytest.mark.parametrize("shards", [2, 3, 64])
def test_each_shard_begins_elsewhere_and_comes_to_every_part(batches: int, shards: int) -> None:
    night = uuid4()
    found = [_parts(batches, Shard(night, number, shards)) for number in range(1, shards + 1)]
    [count] = {count for count, _ in found}
    assert shards <= count <= max(shards, min(batches // BATCHES_OF_A_PART, PARTS_OF_A_SHARD * shards))
    assert len({numbers[0] for _, numbers in found}) == shards
    assert all(sorted(numbers) == list(range(1, count + 1)) for _, numbers in found)
