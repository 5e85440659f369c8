"""Nights in processes of their own, each in a fresh world of the same clips, and what they leave behind."""

import bisect
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pyarrow.parquet as pq

from tests.e2e import job
from tests.e2e.conftest import NewBucket
from tests.e2e.processes import children, lives
from tests.e2e.s3_log import heard
from tests.e2e.tables import Row, Tables, rows, tables, what_was_done
from tests.e2e.world import LIBRARY, World, one, plain
from tests.fixtures_postgres import migrated_database

KIND = "nightly-labeling"
BATCH_SIZE = 8
PATIENCE = 60.0
"""Seconds for what takes none on an idle machine."""


@dataclass(frozen=True)
class Course:
    """How an undisturbed night went: seconds after its start at which it told of a batch, and ended."""

    told: list[float]
    ended: float

    def place(self, moment: float) -> tuple[int, float]:
        """A moment (0 to 1 of the night) as what was told before it, and the seconds since then."""
        seconds = moment * self.ended
        last = bisect.bisect(self.told, seconds) - 1
        return last, seconds - self.told[last]


class Night:
    """One process at work."""

    def __init__(self, process: ForkServerProcess, progress: Connection) -> None:
        self._process, self._progress = process, progress

    def tells(self) -> Iterator[str]:
        """What it tells, until it ends."""
        with suppress(EOFError):
            while True:
                yield self._progress.recv()
        self._process.join()

    def end(self) -> int | None:
        """Its exit status, once it has ended by itself."""
        for _ in self.tells():
            pass
        return self._process.exitcode

    def strike(self) -> list[int]:
        """Kills the process alone, and returns the children that it had at that moment."""
        pid, left = self._process.pid, []
        assert pid
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(pid, signal.SIGSTOP)  # so that it starts no child between the look and the kill
            left = children(pid)
            os.kill(pid, signal.SIGKILL)
        return left

    def kill(self) -> list[int]:
        """As strike, and waits for the end."""
        left = self.strike()
        self._process.join()
        return left


@dataclass(frozen=True)
class Nights:
    """A world whose clips and library all nights share: they never write either."""

    world: World
    new_bucket: NewBucket

    @contextmanager
    def fresh(self, home: Path) -> Iterator[World]:
        """The world before its night, with results and a database of its own."""
        (home / "scratch").mkdir(parents=True)
        server, template = self.world.database.server, self.world.database.name
        with migrated_database(server, template) as database:
            yield replace(self.world, results=self.new_bucket("results"), database=database, home=home)

    def start(self, world: World, kind: str = KIND) -> Night:
        """A process that works through the night of a world."""
        given = job.Job(
            settings=world.settings.model_dump() | {"batch_size": BATCH_SIZE},
            environment=dict(os.environ),
            scratch=world.home / "scratch",
            place=world.place,
            library=LIBRARY,
            kind=kind,
        )
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([job.__name__])
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=job.run, args=(given, sender))
        process.start()
        sender.close()
        return Night(process, receiver)

    def undisturbed(self, world: World) -> Course:
        """Works through a night and measures it."""
        night = self.start(world)
        told = [time.monotonic() for _ in night.tells()]
        return Course([moment - told[0] for moment in told], time.monotonic() - told[0])

    def killed_at(self, world: World, name: str) -> None:
        """Starts a night and kills it when an object of this name is written, before it hears of that."""
        night = self.start(world)
        with heard(
            lambda request: request.writes and plain(request.path).endswith(f"/{name}") and night.strike()
        ):
            night.end()

    def killed(self, world: World, place: tuple[int, float]) -> list[int]:
        """Starts a night and kills it at this place of its course; the children that it had."""
        last, seconds = place
        night = self.start(world)
        for number, _ in enumerate(night.tells()):
            if number == last:
                break
        time.sleep(seconds)
        return night.kill()


@dataclass(frozen=True)
class Outcome:
    """What a finished night left behind, without what chance and the clock decide."""

    tables: Tables
    labels: list[Row]
    columns: list[Row]
    objects: list[str]


def outcome(world: World) -> Outcome:
    """Reads it, and checks that the manifest tells the truth."""
    found = tables(world.database.url("writer"))
    [export] = found["exports"]  # of two runs over the same clips, whichever came to it first
    objects, folder = world.objects(), f"runs/{export['run_id']}"
    lines = one(objects, folder, "jsonl").splitlines()
    columns = pq.read_table(BytesIO(one(objects, folder, "parquet"))).to_pylist()
    return Outcome(
        what_was_done(found),
        [_undated(json.loads(line)) for line in lines],
        [_undated(row) for row in columns],
        sorted(plain(key.replace(folder, "run")) for key in objects),
    )


def _undated(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in {"run", "created_at"}}


def wait_until_gone(world: World, pids: list[int]) -> None:
    """Waits for processes, and for the server to notice that their connections are gone."""
    deadline = time.monotonic() + PATIENCE
    others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while any(map(lives, pids)) or rows(world.database.url("writer"), others):
        assert time.monotonic() < deadline, f"of {pids}, or of their connections, some are still there"
        time.sleep(0.01)
