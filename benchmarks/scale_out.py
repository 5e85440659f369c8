"""A night of short clips shared out to one worker, then to two, through a Prefect server of its own.

`python -m benchmarks.scale_out [CLIPS]` prints for each how long the night took, whether every clip was read,
tokenized and answered once, what Prefect recorded of it and how its database grew, and a JSON line. Each
worker has a home, and so a lock on its device, of its own, as on a machine of its own; they share this one's
cores. Seconds are a whole night's: starting the shards' processes and loading their models is in them.
"""

import json
import os
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import NullPool, create_engine, text

from benchmarks.fleet import Fleet, fleet
from db.bootstrap import ROLES, bootstrap, role_name
from db.embedded import server as embedded
from db.embedded.server import EmbeddedServer
from db.engine import database_url
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.runtime.resources import Runtime
from migrations.upgrade import upgrade

CLIPS = 5_000
SHARDS = 2
RATE = 16_000
LIBRARY = "pitches"
DRAIN_SECONDS = 30.0
"""Prefect writes what happened some seconds after it did."""
DAYS_CONTENTS = """
    SELECT count(*) FROM token_sequences
    WHERE content_sha256 NOT IN (SELECT content_sha256 FROM demonstrations)
"""


def main() -> None:
    """Print a line for each number of workers, the scaling figure and the JSON line."""
    clips = int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS
    folder = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    folder.chmod(0o711)  # Postgres may run as another account
    try:
        write_clips(folder / "clips", clips)
        server = embedded.start(folder / "home")
        figures = [night(server, folder, workers, clips) for workers in (1, 2)]
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder)
    speedup = figures[0]["seconds"] / figures[1]["seconds"]
    print(f"two workers take {1 / speedup:.2f} of the time of one, on {os.cpu_count()} cores")
    said = {"benchmark": "scale_out", "cores": os.cpu_count(), "speedup": round(speedup, 2)}
    print(json.dumps({**said, "nights": figures}))


def write_clips(folder: Path, clips: int) -> None:
    """Tones of 0.3 s, no two alike, and a library of a low and a high one."""
    (folder / "library").mkdir(parents=True)
    (folder / "day").mkdir()
    for number in range(clips):
        write_tone(folder / "day" / f"{number:05}.wav", 100 + number)
    rows = []
    for label, hertz in {"low": 90, "high": 7_000}.items():
        write_tone(folder / "library" / f"{label}.wav", hertz)
        rows.append(json.dumps({"path": f"{label}.wav", "label": label}))
    (folder / "library" / "manifest.jsonl").write_text("\n".join(rows))


def write_tone(path: Path, hertz: float) -> None:
    samples = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(0.3 * RATE)) / RATE)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((samples * 32767).astype("<i2").tobytes())


def night(server: EmbeddedServer, folder: Path, workers: int, clips: int) -> dict[str, Any]:
    """Run one night in a database of its own."""
    name, home = f"workers_{workers}", folder / f"workers-{workers}"
    url = fresh_database(server, name)
    given = {
        "WORDWAVE_DATABASE_URL": url,
        "WORDWAVE_READ_ROOTS": str(folder / "clips"),
        "WORDWAVE_STORAGE_URI": str(home / "results"),
    }
    imported(given, home, folder / "clips/library/manifest.jsonl")
    with fleet(workers, home, given) as running:
        size = prefect_bytes(home)
        started = time.monotonic()
        counted = finished(running, folder / "clips/day")
        seconds = time.monotonic() - started
        time.sleep(DRAIN_SECONDS)
        recorded = recorded_tasks(running)
        growth = prefect_bytes(home) - size
    [[contents]] = ask(url, DAYS_CONTENTS)
    shares = [row[0] for row in ask(url, "SELECT counts FROM runs WHERE kind = 'label-shard'")]
    figures = {
        "workers": workers,
        "clips": clips,
        "llm": Settings().llm,
        "tokenized": counted["tokenize.tokenized"],
        "labeled": counted["label.labeled"],
        "done_twice": counted["tokenize.tokenized"] - contents,
        "seconds": round(seconds, 1),
        "clips_per_second": round(clips / seconds, 1),
        "shares": sorted(share["label.labeled"] for share in shares),
        "task_runs_submitted": submitted_tasks(shares),
        "task_runs_recorded": recorded,
        "prefect_kilobytes_per_1000_clips": round(growth / 1000 / (clips / 1000)),
    }
    print(
        f"{workers} worker(s), LLM {figures['llm'] or 'none'}: "
        f"{counted['label.labeled']} of {clips} clips in {seconds:.0f} s, "
        f"{figures['clips_per_second']} a second, {figures['done_twice']} done twice; Prefect recorded "
        f"{recorded} of {figures['task_runs_submitted']} task runs and grew by "
        f"{figures['prefect_kilobytes_per_1000_clips']} KB per 1,000 clips",
        flush=True,
    )
    return figures


def fresh_database(server: EmbeddedServer, name: str) -> str:
    """Make a migrated database, and return its address as writer."""
    bootstrap(server.admin_url(), name, {role: server.passwords[role_name(role)] for role in ROLES})
    upgrade(server.url("owner", name))
    return server.url("writer", name)


def imported(given: Mapping[str, str], home: Path, manifest: Path) -> None:
    home.mkdir()
    settings = Settings(
        home=home,
        database_url=given["WORDWAVE_DATABASE_URL"],
        read_roots=(given["WORDWAVE_READ_ROOTS"],),
        storage_uri=given["WORDWAVE_STORAGE_URI"],
    )
    runtime = Runtime(settings)
    try:
        import_manifest(runtime, LIBRARY, str(manifest), "label")
    finally:
        runtime.close()


def finished(running: Fleet, place: Path) -> dict[str, Any]:
    """Return what the night counted."""
    asked = {"prefix": str(place), "library": LIBRARY, "day": "any", "shards": SHARDS}
    process = running.start_night(json.dumps(asked))
    printed, _ = process.communicate()
    if process.returncode:
        sys.exit(f"the night ended with status {process.returncode}")
    counted: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return counted


def submitted_tasks(shares: list[Mapping[str, int]]) -> int:
    """Batches of both stages in each shard, what the night does itself, and its link to each shard."""
    size = Settings().batch_size
    return sum(2 * -(-share["label.labeled"] // size) for share in shares) + len(shares) + 2


def recorded_tasks(running: Fleet) -> int:
    return int(running.ask("/task_runs/count"))


def prefect_bytes(home: Path) -> int:
    """Return what Prefect's SQLite takes on disk, its log of changes included."""
    return sum(path.stat().st_size for path in (home / "prefect").glob("prefect.db*"))


def ask(url: str, query: str) -> list[Any]:
    with create_engine(database_url(url), poolclass=NullPool).connect() as connection:
        return list(connection.execute(text(query)))


if __name__ == "__main__":
    main()
