"""Runs of `wordwave up` that are cancelled, killed and started twice end as people expect."""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.processes import command, descendants, lives
from tests.e2e.service import PATIENCE, Service, serving
from tests.e2e.tables import Row, rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIPS, SECONDS = 100, 15.0  # one batch, which computes for longer than a cancelled run may take to end
CANCELLED_WITHIN = 15.0
MARKED_WITHIN = 180.0


@dataclass(frozen=True)
class Place:
    """A folder with more to tokenize than a test waits for, and a service that may read it."""

    service: Service
    database: Database
    folder: Path
    home: Path

    def tokenized(self) -> int:
        """Clips with tokens; a clip that had them twice would count twice."""
        linked = "SELECT count(*) FROM clips JOIN token_sequences USING (content_sha256)"
        [row] = rows(self.database.url("writer"), linked)
        return int(row["count"])

    def runs(self) -> list[Row]:
        return rows(self.database.url("writer"), "SELECT * FROM runs ORDER BY started_at")

    @property
    def lock(self) -> Path:
        """The device's, which each process takes that computes."""
        folder = self.home / "locks"
        folder.mkdir(exist_ok=True)
        return folder / "device-cpu"

    def device_is_free(self) -> bool:
        """Whether nothing computes, as a process that wants to compute finds out."""
        with self.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def wait(self, until: Callable[[], Any], seconds: float = PATIENCE) -> float:
        """How long it took; fails when it takes longer."""
        started = time.monotonic()
        while not until():
            assert time.monotonic() - started < seconds, self.service.log.read_text()[-4000:]
            time.sleep(0.1)
        return time.monotonic() - started

    @contextmanager
    def device_held(self) -> Iterator[None]:
        """A computation of somebody else that does not end."""
        with self.lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def start_tokenizing(self) -> str:
        """A run with all clips before it; its id."""
        self.service.wait_for(self.service.start("ingest-clips", prefix=str(self.folder)))
        return self.service.start("tokenize-clips", prefix=str(self.folder))

    def cancel(self, run: str, pids: list[int]) -> float:
        """Cancels a run; seconds until its processes were gone."""
        self.service.cancel(run)
        waited = self.wait(lambda: not any(map(lives, pids)), CANCELLED_WITHIN)
        assert self.service.wait_for(run)["type"] == "CANCELLED"
        return waited

    def processes(self) -> list[int]:
        """What a run consists of: its own process and its children, decoders among them."""
        return [pid for pid in descendants(self.service.process.pid) if is_of_run(pid)]

    def at_work(self) -> list[int]:
        """The processes of a run, once it decodes and computes."""
        self.wait(lambda: any("core.decoding.child_process.main" in command(pid) for pid in self.processes()))
        self.wait(lambda: not self.device_is_free())
        return self.processes()


def is_of_run(pid: int) -> bool:
    return any(name in command(pid) for name in ("prefect.engine", "core.decoding.child_process.main"))


@pytest.fixture
def place(postgres: EmbeddedServer, migrated_template: str, tmp_path: Path) -> Iterator[Place]:
    folder, home = tmp_path / "clips", tmp_path / "home"
    folder.mkdir()
    for number in range(CLIPS):
        (folder / f"{number:03}.wav").write_bytes(tone(200 + number, SECONDS))
    with migrated_database(postgres, migrated_template) as database:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_READ_ROOTS": str(folder),
            "WORDWAVE_DEVICE": "cpu",
            "WORDWAVE_LLM": "none",
        }
        with serving(environment, home) as service:
            yield Place(service, database, folder, home)


def test_a_cancelled_run_ends_within_15_seconds_with_its_children(place: Place) -> None:
    run = place.start_tokenizing()
    pids = place.at_work()
    assert len(pids) > 1
    waited = place.cancel(run, pids)
    place.wait(place.device_is_free, 5)
    print(f"{len(pids)} processes gone after {waited:.1f} s")


def test_a_cancelled_run_that_cannot_be_interrupted_ends_within_15_seconds(place: Place) -> None:
    with place.device_held():
        run = place.start_tokenizing()
        place.wait(
            lambda: any("core.decoding.child_process.main" in command(pid) for pid in place.processes())
        )
        pids = place.processes()
        time.sleep(2)  # so that it stands before the device, which it will not get
        waited = place.cancel(run, pids)
    print(f"{len(pids)} processes gone after {waited:.1f} s")


def test_a_run_that_was_killed_is_marked_within_3_minutes_and_the_next_one_takes_over(place: Place) -> None:
    service = place.service
    run = place.start_tokenizing()
    pids = place.at_work()
    service.process.send_signal(signal.SIGSTOP)  # as if the machine had gone: nobody reports the death
    for pid in pids:
        if "prefect.engine" in command(pid):
            os.kill(pid, signal.SIGKILL)
    place.wait(lambda: not any(map(lives, pids)))
    place.wait(place.device_is_free, 5)
    marked = place.wait(lambda: service.state(run)["type"] == "CRASHED", MARKED_WITHIN)
    print(f"marked after {marked:.0f} s")
    assert "No heartbeat from this run" in service.state(run)["message"]
    others = [
        other["state"]["type"] for other in service.ask("POST", "/flow_runs/filter") if other["id"] != run
    ]
    assert others == ["COMPLETED"], "what has ended is not marked, though it is silent too"
    service.process.send_signal(signal.SIGCONT)
    [dead] = [row for row in place.runs() if row["kind"] == "tokenize-clips"]
    assert (dead["status"], dead["attempts"]) == ("running", 1)
    again = service.start("tokenize-clips", prefix=str(place.folder))
    assert service.wait_for(again)["type"] == "COMPLETED"
    [done] = [row for row in place.runs() if row["kind"] == "tokenize-clips"]
    assert (done["id"], done["status"], done["attempts"]) == (dead["id"], "completed", 2)
    assert str(done["flow_run_id"]) == again
    assert place.tokenized() == CLIPS


def test_of_two_runs_at_once_one_works_and_the_other_says_why_not(place: Place) -> None:
    service = place.service
    with place.device_held():
        first = place.start_tokenizing()
        place.wait(
            lambda: any("core.decoding.child_process.main" in command(pid) for pid in place.processes())
        )
        refused = service.wait_for(service.start("tokenize-clips", prefix=str(place.folder)))
        assert refused["type"] == "FAILED"
        assert refused["message"].startswith(f"partition tokenize-clips {place.folder.as_uri()} is held by ")
        assert "wait for it to end, then run again" in refused["message"]
    assert service.wait_for(first)["type"] == "COMPLETED"
    assert place.tokenized() == CLIPS
    assert [row["status"] for row in place.runs()] == ["completed"] * 2  # ingest and tokenize
