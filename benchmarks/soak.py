"""Many nights in one `wordwave up`, and many clips in one night, to find what grows and should not.

`python -m benchmarks.soak [--nights N] [--clips N]` starts the service with files of its own, adds a few
clips before each night, then gives one night all the clips, and samples memory, open descriptors, threads and
database connections of all its processes, and the size of both databases. It prints a table, the bars and a
JSON line; the exit status is 1 where something is not flat.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

from sqlalchemy import NullPool, create_engine, text

from benchmarks.fleet import free_port
from benchmarks.recorded import verdict
from benchmarks.scale_out import LIBRARY, write_clips, write_tone
from db.embedded import server as embedded
from db.engine import database_url
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.runtime.resources import Runtime
from flows.server.process import prefect_environment

NIGHTS, CLIPS, CLIPS_A_NIGHT = 50, 20_000, 5
FLOW = "nightly-labeling/wordwave"
START_SECONDS, NIGHT_SECONDS, END_SECONDS, SAMPLE_SECONDS = 240.0, 6 * 3600.0, 60.0, 2.0
SETTLING_NIGHTS = 3
"""In which models are loaded, and pools of threads and connections are filled."""
LIMITS = {"memory_mib": 1.10, "descriptors": 1.10, "threads": 1.10, "connections": 1.10}
GROWTH_BAR = 1.50
"""Of what a late night adds to a database, over what an early one does."""
PITCHES = 7_000.0
"""Hz, shared out to the clips, so that no two are alike."""
MIB = 2**20
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
DATABASE_BYTES = "SELECT pg_database_size(current_database())"


@dataclass(frozen=True)
class Sample:
    """What all processes of the service hold at one moment."""

    at: str
    seconds: float
    memory_mib: float
    descriptors: int
    threads: int
    connections: int
    database_mib: float
    prefect_mib: float

    def __str__(self) -> str:
        return (
            f"{self.at:<14}{self.seconds:>8.1f} s{self.memory_mib:>9.0f} MiB{self.descriptors:>6} fds"
            f"{self.threads:>5} threads{self.connections:>4} connections{self.database_mib:>9.1f} MiB"
            f"{self.prefect_mib:>8.1f} MiB"
        )


@dataclass(frozen=True)
class Bar:
    """A figure of the last samples over that of the first ones, and the most that it may be."""

    what: str
    ratio: float
    limit: float

    @property
    def is_kept(self) -> bool:
        """Return whether it is flat."""
        return self.ratio <= self.limit

    def __str__(self) -> str:
        return f"  {self.what:<44}{self.ratio:>6.2f} times, of {self.limit} {verdict(self.is_kept)}"


class Service:
    """A running `wordwave up`, and what it holds."""

    def __init__(self, process: subprocess.Popen[bytes], home: Path) -> None:
        self._process, self._home, self._started = process, home, time.monotonic()
        self._at_rest = len(descendants(process.pid))
        url = database_url(embedded.start(home).url("writer"))
        self._engine = create_engine(url, poolclass=NullPool)

    def sample(self, at: str) -> Sample:
        """Read it from /proc and from Postgres, whose own connection is left out."""
        pids = [self._process.pid, *descendants(self._process.pid)]
        with self._engine.connect() as connection:
            connections = connection.scalar(text(CONNECTIONS)) - 1
            database = connection.scalar(text(DATABASE_BYTES)) / MIB
        prefect = sum(path.stat().st_size for path in (self._home / "prefect").glob("prefect.db*")) / MIB
        memory = sum(map(memory_bytes, pids)) / MIB
        seconds = time.monotonic() - self._started
        counts = (sum(entries(pid, "fd") for pid in pids), sum(entries(pid, "task") for pid in pids))
        return Sample(at, seconds, memory, *counts, connections, database, prefect)

    def wait_for_rest(self) -> None:
        """Wait until the processes of a night have ended; one that stays is in the next sample."""
        deadline = time.monotonic() + END_SECONDS
        while len(descendants(self._process.pid)) > self._at_rest and time.monotonic() < deadline:
            time.sleep(0.5)

    @contextmanager
    def sampled(self, at: str) -> Iterator[list[Sample]]:
        """Sample again and again while the block runs."""
        samples: list[Sample] = []
        ended = Event()

        def sample() -> None:
            while not ended.wait(SAMPLE_SECONDS):
                samples.append(self.sample(at))

        thread = Thread(target=sample)
        thread.start()
        try:
            yield samples
        finally:
            ended.set()
            thread.join()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, those that they started, and so on."""
    parents = dict(_parents())
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        if stat := _read(path):
            yield int(path.parent.name), int(stat.rpartition(")")[2].split()[1])


def memory_bytes(pid: int) -> int:
    """Return its resident memory; shared pages count in each process that has them."""
    statm = _read(Path(f"/proc/{pid}/statm"))
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm else 0


def entries(pid: int, folder: str) -> int:
    """Return how many entries a folder of a process in /proc has; none where it is gone or hidden."""
    try:
        return len(os.listdir(f"/proc/{pid}/{folder}"))
    except OSError:
        return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@contextmanager
def serving(home: Path, port: int, environment: Mapping[str, str]) -> Iterator[Service]:
    """Run `wordwave up` for the block."""
    log = home / "up.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "flows.cli", "up", "--port", str(port)]
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=output)
    try:
        _wait_until_ready(process, log)
        yield Service(process, home)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ready" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"wordwave up is not ready:\n{log.read_text()}")
        time.sleep(0.5)


def run_night(place: str) -> None:
    """Have the service do a night, and wait for it; RuntimeError where it does not complete."""
    from prefect.deployments import run_deployment

    parameters = {"prefix": place, "library": LIBRARY}
    run: Any = run_deployment(FLOW, parameters=parameters, timeout=NIGHT_SECONDS, poll_interval=0.5)
    if not run.state.is_completed():
        raise RuntimeError(f"a night ended {run.state.name}: {run.state.message}")


def many_nights(service: Service, folder: Path, nights: int) -> list[Sample]:
    """Sample after each night; before each a few clips are new."""
    (folder / "nights").mkdir()
    samples = []
    for night in range(1, nights + 1):
        for number in range(CLIPS_A_NIGHT):
            name = f"{night:04}-{number}.wav"
            write_tone(folder / "nights" / name, 100 + 0.5 * (night * CLIPS_A_NIGHT + number))
        run_night(str(folder / "nights"))
        service.wait_for_rest()
        samples.append(service.sample(f"night {night}"))
        print(samples[-1], flush=True)
    return samples


def one_night(service: Service, folder: Path) -> list[Sample]:
    """Sample while one night works through all clips."""
    with service.sampled("in the night") as samples:
        run_night(str(folder / "day"))
    service.wait_for_rest()
    samples.append(service.sample("after it"))
    for sample in samples[:: max(1, len(samples) // 10)]:
        print(sample, flush=True)
    return samples


def bars(what: str, samples: Sequence[Sample]) -> list[Bar]:
    """Return the last third of the samples over the third before it."""
    third = max(1, len(samples) // 3)
    before, last = samples[-2 * third : -third] or samples[:third], samples[-third:]
    ratios = {name: _middle(last, name) / max(1.0, _middle(before, name)) for name in LIMITS}
    return [Bar(f"{what}: {name}", ratio, LIMITS[name]) for name, ratio in ratios.items()]


def growth_bars(samples: Sequence[Sample]) -> list[Bar]:
    """Return how much more a late night adds to the databases than an early one."""
    half, databases = len(samples) // 2, ("database_mib", "prefect_mib")
    ratios = {name: _growth(samples[half:], name) / _growth(samples[: half + 1], name) for name in databases}
    return [Bar(f"nights: growth of {name}", ratio, GROWTH_BAR) for name, ratio in ratios.items()]


def _middle(samples: Sequence[Sample], name: str) -> float:
    return median(float(getattr(sample, name)) for sample in samples)


def _growth(samples: Sequence[Sample], name: str) -> float:
    """Return MiB a night, of which the databases take whole pages at a time."""
    first, last = (float(getattr(samples[end], name)) for end in (0, -1))
    return max(0.05, (last - first) / max(1, len(samples) - 1))


@contextmanager
def own_folder() -> Iterator[Path]:
    """Open a folder that Postgres may enter, whatever its account; it is deleted after the block."""
    folder = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder)


def prepared(folder: Path, clips: int) -> int:
    """Make clips and library, lead this process to the service, and return its port."""
    home, port = folder / "home", free_port()
    home.mkdir(mode=0o711)
    write_clips(folder, 0)
    for number in range(clips):
        write_tone(folder / "day" / f"{number:05}.wav", 100 + PITCHES * number / clips)
    for variable in ("WORDWAVE_DATABASE_URL", "WORDWAVE_STORAGE_URI"):
        os.environ.pop(variable, None)
    os.environ |= {"WORDWAVE_HOME": str(home), "WORDWAVE_READ_ROOTS": str(folder)}
    runtime = Runtime(Settings())
    import_manifest(runtime, LIBRARY, str(folder / "library" / "manifest.jsonl"), "label")
    runtime.close()
    return port


def main() -> int:
    """Print samples, bars and the JSON line."""
    arguments = _arguments()
    with own_folder() as folder:
        port = prepared(folder, arguments.clips)
        environment = dict(os.environ)
        os.environ |= prefect_environment(Settings(), port)  # before Prefect is imported
        with serving(folder / "home", port, environment) as service:
            nights = many_nights(service, folder, arguments.nights)
            night = one_night(service, folder)
    settled = nights[SETTLING_NIGHTS - 1 :] if len(nights) > SETTLING_NIGHTS else nights
    found = [*bars("nights", settled), *growth_bars(settled), *bars("one night", night[:-1] or night)]
    print("\n".join(map(str, found)))
    said = {"benchmark": "soak", "nights": arguments.nights, "clips": arguments.clips}
    figures: Callable[[Any], dict[str, Any]] = asdict
    print(json.dumps({**said, "bars": [*map(figures, found)], "samples": [*map(figures, nights + night)]}))
    return 0 if all(bar.is_kept for bar in found) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=NIGHTS)
    parser.add_argument("--clips", type=int, default=CLIPS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
