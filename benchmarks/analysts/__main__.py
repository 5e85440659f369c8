"""How long analysts wait for the documented questions on a large database.

`python -m benchmarks.analysts FOLDER [--clips N] [--first N]` starts a Postgres of its own in the folder,
fills a small and a large database in bulk, counts words as the job does, and prints for each question p50 and
p95 as the analyst, the server's processor time, its bar and how it grew; then how many of the ten most
similar clips are found, bytes a clip, and how fast tokens are written with all indexes in place. What it made
is deleted in the end.
"""

import argparse
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

from sqlalchemy import NullPool, create_engine, text

from benchmarks.analysts.asking import PATIENCE, Asked, Patience, ask_all
from benchmarks.analysts.corpus import Corpus
from benchmarks.analysts.filling import corpus_of, fill
from benchmarks.analysts.questions import documented_questions
from benchmarks.analysts.recall import recall
from benchmarks.analysts.writing import Rate, bytes_of, written_per_second
from benchmarks.machine import seconds_of
from benchmarks.recorded import verdict
from benchmarks.scale_out import fresh_database
from db.embedded import server as embedded
from db.embedded.server import EmbeddedServer
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.count_words import count_words
from flows.pipeline.runtime.resources import Runtime

CLIPS, FIRST = 1_000_000, 10_000
LEAST_RECALL, LEAST_RATE, MOST_MINUTES = 0.9, 2_000, 60
SHORT = 20_000
"""One-second clips that are written."""


@dataclass(frozen=True)
class Measured:
    """What was measured on a database of so many clips."""

    clips: int
    asked: Sequence[Asked]
    recall: float
    rate: Rate
    bytes: dict[str, int]
    filled_s: float | None
    """None where an earlier try had filled it."""
    counted_s: float


@contextmanager
def own_server(folder: Path) -> Iterator[EmbeddedServer]:
    """Yield a Postgres of its own in the folder; what it has is deleted if all ended well."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    for one in (folder, home):
        one.chmod(0o711)  # Postgres may run as another account
    try:
        yield embedded.start(home)
    finally:
        embedded.stop(home)
    shutil.rmtree(home)


def measure(
    server: EmbeddedServer, clips: int, patience: Patience = PATIENCE, short: int = SHORT
) -> Measured:
    """Fill a database, count its words, ask everything, and write so many short clips."""
    name, corpus = f"clips_{clips}", corpus_of(clips)
    filled = filled_database(server, name, corpus)
    print(f"{clips} clips: filled" + (" before" if filled is None else f" in {filled:.0f} s"), flush=True)
    counted = seconds_of(partial(count, server.url("writer", name), server.home))
    print(f"{clips} clips: words counted in {counted:.0f} s", flush=True)
    analyst = server.url("analyst", name)
    asked = ask_all(analyst, documented_questions(), corpus, patience)
    return Measured(
        clips,
        asked,
        recall(analyst, corpus),
        written_per_second(server.url("writer", name), corpus, short),
        bytes_of(server.url("owner", name)),
        filled,
        counted,
    )


def filled_database(server: EmbeddedServer, name: str, corpus: Corpus) -> float | None:
    """Make and fill a database unless it is there; return the seconds that it took.

    It has its name once it is filled.
    """
    unfilled = f"{name}_unfilled"
    administrator = create_engine(server.admin_url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        known = "SELECT true FROM pg_database WHERE datname = :name"
        if connection.scalar(text(known), {"name": name}):
            return None
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {unfilled}")
        fresh_database(server, unfilled)
        filled = seconds_of(lambda: fill(server.admin_url(unfilled), corpus))
        connection.exec_driver_sql(f"ALTER DATABASE {unfilled} RENAME TO {name}")
    return filled


def count(writer: str, home: Path) -> None:
    """Count words, near copies and motifs as the job does."""
    runtime = Runtime(Settings(home=home / "counting", database_url=writer))
    try:
        count_words(runtime)
    finally:
        runtime.close()


def report(small: Measured, large: Measured, seconds: float) -> None:
    """Print each question of the large database against its bar and against the small one."""
    print(f"p50, p95, processor time in ms at {large.clips} clips, times as long as at {small.clips}, bar")
    for before, now in zip(small.asked, large.asked, strict=True):
        bar = now.question.bar_ms
        grew = now.p50 / before.p50
        times = f"{now.p50:8.1f} {now.p95:8.1f} {now.processor:8.1f} {grew:6.1f}  {bar:5.0f}"
        print(f"{times} {verdict(now.p95 <= bar)}  {now.question.sql}")
    print(f"  recall at 10 {large.recall:.3f} of {LEAST_RECALL} {verdict(large.recall >= LEAST_RECALL)}")
    by_clock = large.rate.by_clock
    print(f"  written clips a second {by_clock:.0f} of {LEAST_RATE} {verdict(by_clock >= LEAST_RATE)}")
    print(f"  written clips a processor second {large.rate.by_processor:.0f}")
    print(f"  minutes {seconds / 60:.1f} of {MOST_MINUTES} {verdict(seconds <= 60 * MOST_MINUTES)}")
    print(f"  bytes a clip {sum(large.bytes.values()) / large.clips:.0f}, of these:")
    for table, size in list(large.bytes.items())[:8]:
        print(f"    {table} {size / large.clips:.0f}")


def figures(measured: Measured) -> dict[str, object]:
    """Return what was measured as JSON."""
    asked = {
        one.question.sql: [round(ms, 1) for ms in (one.p50, one.p95, one.processor)] for one in measured.asked
    }
    return vars(measured) | {"asked": asked, "rate": vars(measured.rate)}


def main() -> None:
    """Fill two databases, measure both and print the report and a JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysts", description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="a new folder with a short path, or that of a try that did not end"
    )
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--first", type=int, default=FIRST)
    given = parser.parse_args()
    begun = perf_counter()
    with own_server(given.folder) as server:
        large, small = (measure(server, clips) for clips in (given.clips, given.first))
    seconds = perf_counter() - begun
    report(small, large, seconds)
    said = {"benchmark": "analysts", "cores": os.cpu_count(), "seconds": round(seconds)}
    print(json.dumps({**said, "measured": [figures(one) for one in (small, large)]}))


if __name__ == "__main__":
    main()
