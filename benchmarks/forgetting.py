"""How long it takes to forget many clips at once, and to prove that nothing of them is left.

`python -m benchmarks.forgetting FOLDER [--clips N] [--forgotten N]` starts a Postgres of its own in the
folder, fills a database and the files of the lake, forgets one clip and then many at once, and searches all
tables and results for them. What it made is deleted in the end.
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import text

from benchmarks.analysts.__main__ import count, filled_database
from benchmarks.analysts.filling import NIGHTS, corpus_of
from benchmarks.machine import seconds_of
from db.embedded import server as embedded
from db.embedded.server import EmbeddedServer
from db.engine import session_scope
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.files.lake import keep_lake
from flows.pipeline.maintenance.forgetting.check import places_naming
from flows.pipeline.maintenance.forgetting.forget import ForgetRequest, Forgetting, forget
from flows.pipeline.runtime.resources import Runtime

CLIPS, FORGOTTEN = 100_000, 1_000
FIRST_DAY = date(2026, 11, 1)
T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """Seconds to forget one clip, many at once, and to search for these; `left` are places that name one."""

    clips: int
    forgotten: int
    rows: int
    one_s: float
    many_s: float
    search_s: float
    left: int


def measure(server: EmbeddedServer, clips: int, forgotten: int) -> Measured:
    """Fill a database and a lake, and forget."""
    name = f"forgetting_{clips}"
    filled_database(server, name, corpus_of(clips))
    count(server.url("writer", name), server.home)
    home = server.home / "forgetting"
    runtime = Runtime(Settings(home=home, database_url=server.url("writer", name)))
    try:
        _write_lake(runtime)
        one, *many = _contents(runtime, forgotten + 1)
        one_s, _ = _timed(lambda: _forget(runtime, frozenset({one})))
        many_s, done = _timed(lambda: _forget(runtime, frozenset(many)))
        search_s, left = _timed(lambda: list(places_naming(runtime, done.names)))
    finally:
        runtime.close()
        shutil.rmtree(home)
    return Measured(clips, forgotten, sum(done.rows.values()), one_s, many_s, search_s, len(left))


def _write_lake(runtime: Runtime) -> None:
    with session_scope(runtime.engine) as session:
        run: UUID = session.scalars(text("SELECT id FROM runs ORDER BY started_at LIMIT 1")).one()
    for night in range(NIGHTS):
        keep_lake(runtime, run, "sounds", FIRST_DAY + timedelta(days=night))


def _contents(runtime: Runtime, number: int) -> list[bytes]:
    """Return contents that no library shows, in the order of digests, which is arbitrary."""
    query = text(
        "SELECT sha256 FROM contents WHERE sha256 NOT IN (SELECT content_sha256 FROM demonstrations) "
        "ORDER BY sha256 LIMIT :number"
    )
    with session_scope(runtime.engine) as session:
        return [bytes(one) for one in session.scalars(query, {"number": number})]


def _forget(runtime: Runtime, contents: frozenset[bytes]) -> Forgetting:
    return forget(runtime, ForgetRequest(contents, frozenset()))


def _timed(do: Callable[[], T]) -> tuple[float, T]:
    done: list[T] = []
    seconds = seconds_of(lambda: done.append(do()))
    return seconds, done[0]


def report(measured: Measured) -> None:
    """Print what was measured."""
    print(f"of {measured.clips:,} clips: one forgotten in {measured.one_s:.2f} s")
    print(f"{measured.forgotten:,} at once, {measured.rows:,} rows: {measured.many_s:.2f} s")
    print(f"all tables and objects searched for them: {measured.search_s:.2f} s, {measured.left} name one")


def main() -> None:
    """Measure and print the report and a JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forgetting", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty or new folder, with a short path")
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--forgotten", type=int, default=FORGOTTEN)
    given = parser.parse_args()
    home = given.folder / "home"
    home.mkdir(parents=True)
    for folder in (given.folder, home):
        folder.chmod(0o711)  # Postgres may run as another account
    server = embedded.start(home)
    try:
        measured = measure(server, given.clips, given.forgotten)
    finally:
        embedded.stop(home)
        shutil.rmtree(home)
    report(measured)
    print(json.dumps({"benchmark": "forgetting", "cores": os.cpu_count(), **vars(measured)}))


if __name__ == "__main__":
    main()
