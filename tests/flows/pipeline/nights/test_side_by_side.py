"""Batches at once in threads, with steps that wait for each other."""

from collections.abc import Sequence
from threading import Barrier, Event, Lock

import pytest

from flows.pipeline.nights.side_by_side import side_by_side
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime import resources
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE

BATCHES = [["a"], ["b", "c"], ["d"], ["e"]]
PATIENCE = 30


def test_so_many_batches_run_at_once_and_each_is_counted_once() -> None:
    meet, lock, shares = Barrier(BATCHES_AT_ONCE), Lock(), list[int]()

    def step(batch: Sequence[str]) -> Counts:
        meet.wait(PATIENCE)  # nobody gets on alone
        with lock:
            shares.append(resources._side_by_side.get())
        return Counts(done=len(batch))

    assert sum(side_by_side("tokenize", step, BATCHES), Counts()) == Counts(done=5)
    assert shares == [BATCHES_AT_ONCE] * len(BATCHES)


def test_one_batch_has_all_cores_and_no_batch_is_no_work() -> None:
    def step(batch: Sequence[str]) -> Counts:
        return Counts(cores_shared_by=resources._side_by_side.get())

    assert list(side_by_side("tokenize", step, BATCHES[:1])) == [Counts(cores_shared_by=1)]
    assert list(side_by_side("tokenize", step, [])) == []


def test_an_error_is_raised_when_what_is_under_way_has_ended_and_begins_nothing_more() -> None:
    failed, ended = Event(), list[str]()

    def step(batch: Sequence[str]) -> Counts:
        if batch == ["a"]:
            failed.set()
            raise RuntimeError("no more")
        failed.wait(PATIENCE)
        ended.append(batch[0])
        return Counts()

    with pytest.raises(RuntimeError, match="no more"):
        list(side_by_side("tokenize", step, BATCHES))
    assert ended in (["b"], ["b", "d"])  # a batch that had ended first makes room for one more
