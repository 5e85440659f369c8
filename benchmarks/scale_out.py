"""A night of short clips by one process, by two nodes of Ray, and by two workers of Prefect.

`python -m benchmarks.scale_out [CLIPS]` prints for each how long the night took, how much memory the process
had that led it, and whether every clip was answered once; at the end, whether all left the same rows, and a
JSON line. In the third night a node of Ray is killed. Of Prefect the JSON line also has what it recorded, and
how its database grew. Each worker and node has a home, and so a lock on its device, of its own, as on another
machine; they share this one's cores. Seconds are a whole night's: starting processes and loading models is in
them, starting the Prefect server, its workers and the nodes of Ray is not. Needs wordwave[ray].
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import NullPool, create_engine, text

from benchmarks.fleet import Fleet, fleet
from benchmarks.ray_nodes import ray_nodes, start_night
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
NODES = 2
POLL_SECONDS = 0.5
ROWS = """
    SELECT uri, encode(content_sha256, 'hex'), semantic, acoustic1, acoustic2,
           encode(work_key, 'hex'), label, probabilities::text, margin, baselines::text
    FROM clips JOIN token_sequences USING (content_sha256) LEFT JOIN predictions USING (content_sha256)
    ORDER BY uri
"""
DAYS_CONTENTS = """
    SELECT count(*) FROM token_sequences
    WHERE content_sha256 NOT IN (SELECT content_sha256 FROM demonstrations)
"""


def main() -> None:
    """Print a line for each night, whether all left the same rows, and the JSON line."""
    clips = int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS
    folder = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    folder.chmod(0o711)  # Postgres may run as another account
    try:
        write_clips(folder / "clips", clips)
        server = embedded.start(folder / "home")
        figures = [night(server, folder, name, lead, clips) for name, lead in LEADERS.items()]
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder)
    is_same = len({one["rows_sha256"] for one in figures}) == 1
    print(f"on {os.cpu_count()} cores; {'all left the same rows' if is_same else 'THE ROWS DIFFER'}")
    print(json.dumps({"benchmark": "scale_out", "cores": os.cpu_count(), "nights": figures}))
    if not is_same:
        sys.exit(1)


def write_clips(folder: Path, clips: int) -> None:
    """Tones of 0.3 s, no two alike, and a library of a low and a high one."""
    (folder / "library").mkdir(parents=True)
    (folder / "day").mkdir()
    for number in range(clips):
        write_tone(folder / "day" / f"{number:05}.wav", 100 + 0.69 * number)  # below half the rate
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


Figures = dict[str, Any]
Lead = Callable[[Path, Mapping[str, str], str, int], Figures]
"""Leads a night with a home and an environment over a place of some clips."""


def night(server: EmbeddedServer, folder: Path, name: str, lead: Lead, clips: int) -> Figures:
    """Run one night in a database of its own."""
    home = folder / name.replace(" ", "-")
    url = fresh_database(server, name.replace(" ", "_"))
    given = {
        "WORDWAVE_DATABASE_URL": url,
        "WORDWAVE_READ_ROOTS": str(folder / "clips"),
        "WORDWAVE_STORAGE_URI": str(home / "results"),
    }
    imported(given, home, folder / "clips/library/manifest.jsonl")
    counted = lead(home, given, str(folder / "clips/day"), clips)
    [[contents]] = ask(url, DAYS_CONTENTS)
    figures = {
        "night": name,
        "clips": clips,
        "llm": Settings().llm,
        "tokenized": counted["tokenize.tokenized"],
        "labeled": counted["label.labeled"],
        "done_twice": counted["tokenize.tokenized"] - contents,
        "seconds": round(counted["seconds"], 1),
        "clips_per_second": round(clips / counted["seconds"], 1),
        "leader_megabytes": counted["megabytes"],
        "rows_sha256": rows_sha256(url),
        **counted.get("prefect", {}),
    }
    print(
        f"{name}, LLM {figures['llm'] or 'none'}: {contents} of {clips} clips in {figures['seconds']:.0f} s, "
        f"{figures['clips_per_second']} a second, {figures['done_twice']} counted twice; "
        f"the leader had {figures['leader_megabytes']} MB",
        flush=True,
    )
    return figures


def one_process(home: Path, given: Mapping[str, str], place: str, clips: int) -> Figures:
    """Lead a night that nobody shares."""
    return finished(lambda: start_night({**given, "WORDWAVE_HOME": str(home)}, place, LIBRARY))


def on_prefect(home: Path, given: Mapping[str, str], place: str, clips: int) -> Figures:
    """Lead a night in shards, each by a worker of Prefect."""
    asked = json.dumps({"prefix": place, "library": LIBRARY, "day": "any", "shards": SHARDS})
    with fleet(SHARDS, home, given) as running:
        size = prefect_bytes(home)
        counted = finished(lambda: running.start_night(asked))
        time.sleep(DRAIN_SECONDS)
        recorded = recorded_tasks(running)
        growth = prefect_bytes(home) - size
    query = "SELECT counts FROM runs WHERE kind = 'label-shard'"
    shares = [row[0] for row in ask(given["WORDWAVE_DATABASE_URL"], query)]
    prefect = {
        "shares": sorted(share.get("label.labeled", 0) for share in shares),
        "task_runs_submitted": submitted_tasks(shares),
        "task_runs_recorded": recorded,
        "prefect_kilobytes_per_1000_clips": round(growth / 1000 / (clips / 1000)),
    }
    return {**counted, "prefect": prefect}


def ray_cluster(*, loses_one: bool) -> Lead:
    """Lead a night on nodes of Ray, of which one may be killed when a quarter of the clips are read."""

    def lead(home: Path, given: Mapping[str, str], place: str, clips: int) -> Figures:
        with ray_nodes(NODES, home, given) as nodes:

            def started() -> subprocess.Popen[str]:
                process = start_night(nodes.environment, place, LIBRARY)
                while loses_one and process.poll() is None:
                    [[read]] = ask(given["WORDWAVE_DATABASE_URL"], DAYS_CONTENTS)
                    if read > clips / 4:
                        nodes.kill(nodes.nodes[0])
                        break
                    time.sleep(POLL_SECONDS)
                return process

            return finished(started)

    return lead


LEADERS: dict[str, Lead] = {
    "one process": one_process,
    "2 Ray nodes": ray_cluster(loses_one=False),
    "2 Ray nodes of which one is killed": ray_cluster(loses_one=True),
    "2 Prefect workers": on_prefect,
}


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


def finished(start: Callable[[], subprocess.Popen[str]]) -> Figures:
    """Return what a night counted, and its seconds."""
    begun = time.monotonic()
    process = start()
    printed, _ = process.communicate()
    if process.returncode:
        sys.exit(f"the night ended with status {process.returncode}")
    counted: Figures = json.loads(printed.splitlines()[-1])
    return {**counted, "seconds": time.monotonic() - begun}


def rows_sha256(url: str) -> str:
    """Return the hash of all codes and answers, in order of clips."""
    with create_engine(database_url(url), poolclass=NullPool).connect() as connection:
        digest = hashlib.sha256()
        for row in connection.execute(text(ROWS)):
            digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()


def submitted_tasks(shares: list[Mapping[str, int]]) -> int:
    """At least: batches of both stages in each shard, what the night does itself, its link to each shard."""
    size = Settings().batch_size
    return sum(2 * -(-share.get("label.labeled", 0) // size) for share in shares) + len(shares) + 2


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
