"""A night on a real cluster of Ray of several nodes: the rows of one process, whatever is lost on the way."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.ray_nodes import RayNodes, ray_nodes, start_night
from tests.e2e.nights import Outcome
from tests.e2e.s3_log import Request, heard, recorded
from tests.e2e.sharing import (
    ATTEMPTS,
    BATCH_SIZE,
    CLIPS,
    TOKENIZED,
    counts,
    environment_of,
    is_read,
    left_by,
    reads,
)
from tests.e2e.tables import rows, tables
from tests.e2e.test_changes import new_rows
from tests.e2e.world import LIBRARY, World

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]

PATIENCE = 240.0
UNDER_WAY = 2 * BATCH_SIZE
"""Clips of the batches that one actor may have at a time."""


@pytest.fixture
def nodes(shared: World, tmp_path: Path) -> Iterator[RayNodes]:
    """Two nodes for the world."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'wordwave[ray]'")
    with ray_nodes(2, tmp_path / "ray", environment_of(shared)) as running:
        yield running


def start(nodes: RayNodes, world: World) -> subprocess.Popen[str]:
    return start_night(nodes.environment, world.place, LIBRARY)


def committed(world: World) -> set[str]:
    """The names of the clips with tokens."""
    found = rows(world.database.url("writer"), TOKENIZED)
    return {row["uri"].rpartition("/")[2] for row in found}


def once_committed(world: World, act: Callable[[], object]) -> tuple[Callable[[Request], None], set[str]]:
    """Return what acts at the first read of a clip after others were committed, and which these were."""
    before: set[str] = set()

    def hear(request: Request) -> None:
        if not before and is_read(request) and (done := committed(world)):
            before.update(done)
            act()

    return hear, before


def test_two_nodes_leave_the_rows_of_one_process_and_read_every_clip_once(
    shared: World, nodes: RayNodes, alone: Outcome
) -> None:
    with recorded() as requests:
        counted = counts(start(nodes, shared))
    assert set(reads(requests).values()) == {1}
    assert reads(requests).total() == CLIPS + 3
    assert (counted["label.labeled"], counted["export.rows"]) == (CLIPS + 1, CLIPS + 2)
    assert left_by(shared) == alone
    url = shared.database.url("writer")
    assert rows(url, "SELECT DISTINCT run_id::text AS run FROM predictions") == [{"run": counted["run"]}]
    [figures] = rows(url, "SELECT figures FROM runs WHERE kind = 'nightly-labeling'")
    assert figures["figures"]["seconds/tokenize/encode"] > 0

    before = tables(url)
    with recorded() as requests:
        again = counts(start(nodes, shared))
    assert not [request for request in requests if is_read(request) or request.writes]
    assert not {"tokenize.tokenized", "label.labeled"} & again.keys()
    assert new_rows(before, tables(url)) == {}


def test_the_batches_of_a_node_that_is_lost_are_done_by_the_other(
    shared: World, nodes: RayNodes, alone: Outcome
) -> None:
    strike, done = once_committed(shared, lambda: nodes.kill(nodes.nodes[0]))
    with recorded() as requests, heard(strike):
        counts(start(nodes, shared))
    assert 0 < len(done) < CLIPS
    assert {reads(requests)[name] for name in done} == {1}
    assert left_by(shared) == alone


def test_a_straggler_keeps_no_more_than_the_batches_that_it_has(
    shared: World, nodes: RayNodes, alone: Outcome
) -> None:
    stopped: list[int] = []

    def stop() -> None:
        stopped.extend(nodes.actors(nodes.nodes[0]))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    halt, _ = once_committed(shared, stop)
    with heard(halt):
        night = start(nodes, shared)
        deadline = time.monotonic() + PATIENCE
        while len(committed(shared)) < CLIPS + 1 - UNDER_WAY:
            assert time.monotonic() < deadline, f"{len(committed(shared))} of {CLIPS} clips have tokens"
            time.sleep(0.2)
        assert len(stopped) == 1
        os.kill(stopped[0], signal.SIGCONT)
        counts(night)
    assert left_by(shared) == alone


def test_a_killed_driver_that_is_started_again_does_what_is_left(
    shared: World, nodes: RayNodes, alone: Outcome
) -> None:
    first = start(nodes, shared)
    strike, done = once_committed(shared, first.kill)
    with recorded() as requests:
        with heard(strike):
            first.communicate(timeout=300)
        counts(start(nodes, shared))
    assert 0 < len(done) < CLIPS
    assert {reads(requests)[name] for name in done} == {1}
    assert rows(shared.database.url("writer"), ATTEMPTS) == [{"attempts": 2}]
    assert left_by(shared) == alone
