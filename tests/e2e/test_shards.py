"""A night shared out between worker processes: the rows of one process, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.fleet import Fleet, fleet
from tests.e2e.nights import Outcome
from tests.e2e.processes import descendants
from tests.e2e.s3_log import Request, heard, recorded
from tests.e2e.sharing import (
    ATTEMPTS,
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
from tests.e2e.world import LIBRARY, World, tone

pytestmark = pytest.mark.timeout(600)

MANY = 200
PATIENCE = 240.0
SHARES = "SELECT counts FROM runs WHERE kind = 'label-shard'"


@pytest.fixture
def workers(shared: World, tmp_path: Path) -> Iterator[Fleet]:
    """Two workers for the world."""
    with fleet(2, tmp_path / "fleet", environment_of(shared)) as running:
        yield running


def start(workers: Fleet, world: World) -> subprocess.Popen[str]:
    asked = {"prefix": world.place, "library": LIBRARY, "day": "any", "shards": 2, "reviews": 0}
    return workers.start_night(json.dumps(asked))


def shard_states(workers: Fleet) -> list[str]:
    """The states of the flow runs of label-shard."""
    asked = {"flows": {"name": {"any_": ["label-shard"]}}}
    return sorted(run["state"]["type"] for run in workers.ask("/flow_runs/filter", **asked))


@pytest.mark.slow
def test_two_workers_leave_the_rows_of_one_process_and_read_every_clip_once(
    shared: World, workers: Fleet, alone: Outcome
) -> None:
    with recorded() as requests:
        counted = counts(start(workers, shared))
    assert set(reads(requests).values()) == {1}
    assert reads(requests).total() == CLIPS + 3
    assert shard_states(workers) == ["COMPLETED", "COMPLETED"]
    assert (counted["label.labeled"], counted["export.rows"]) == (CLIPS + 1, CLIPS + 2)
    assert left_by(shared) == alone
    url = shared.database.url("writer")
    written = rows(url, "SELECT DISTINCT run_id::text AS run FROM predictions")
    assert written == [{"run": counted["run"]}]
    shares = [row["counts"].get("label.labeled", 0) for row in rows(url, SHARES)]
    assert len(shares) == 2
    assert sum(shares) == CLIPS + 1

    before = tables(url)
    with recorded() as requests:
        again = counts(start(workers, shared))
    assert not [request for request in requests if is_read(request) or request.writes]
    assert not {"tokenize.tokenized", "label.labeled"} & again.keys()
    assert new_rows(before, tables(url)) == {}


@pytest.mark.slow
def test_killed_shards_are_started_again_and_do_nothing_twice_that_was_committed(
    shared: World, workers: Fleet, alone: Outcome
) -> None:
    committed: set[str] = set()

    def strike(request: Request) -> None:
        """Once something is committed, kills every process of both workers."""
        if committed or not is_read(request):
            return
        for row in rows(shared.database.url("writer"), TOKENIZED):
            committed.add(row["uri"].rpartition("/")[2])
        for worker in workers.workers if committed else ():
            for pid in descendants(worker.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    with recorded() as requests, heard(strike):
        counts(start(workers, shared))
    assert 0 < len(committed) < CLIPS
    assert "CRASHED" in shard_states(workers)
    assert shard_states(workers).count("COMPLETED") == 2
    assert {reads(requests)[name] for name in committed} == {1}
    assert left_by(shared) == alone


@pytest.mark.slow
def test_a_killed_night_joins_the_shards_that_it_had_started(shared: World, workers: Fleet) -> None:
    first = start(workers, shared)

    def kill_reader(request: Request) -> None:
        if is_read(request):
            first.kill()

    with heard(kill_reader):
        first.communicate(timeout=300)
    counted = counts(start(workers, shared))
    assert shard_states(workers) == ["COMPLETED", "COMPLETED"]
    assert counted["label.labeled"] == CLIPS + 1
    assert rows(shared.database.url("writer"), ATTEMPTS) == [{"attempts": 2}]


@pytest.mark.slow
def test_a_night_that_is_cancelled_takes_its_shards_with_it(shared: World, workers: Fleet) -> None:
    for number in range(MANY):
        shared.put(f"more-{number}.wav", tone(301 + 7 * number))
    first, reading = start(workers, shared), threading.Event()

    def notice(request: Request) -> None:
        if is_read(request):
            reading.set()

    with heard(notice):
        assert reading.wait(300)
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode != 0
    deadline = time.monotonic() + PATIENCE
    while set(shard_states(workers)) != {"CANCELLED"}:
        assert time.monotonic() < deadline, shard_states(workers)
        time.sleep(0.5)
    assert not [pid for worker in workers.workers for pid in descendants(worker.pid)]
    assert counts(start(workers, shared))["export.rows"] == CLIPS + MANY + 2
