"""`wordwave up` as a process of its own, asked over Prefect's HTTP API as its UI asks it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from benchmarks.prefect_api import api_client
from flows.deployments import DEPLOYMENT_NAME
from flows.flow_runs.own_server import read_password
from tests.e2e.processes import descendants, lives
from tests.e2e.world import tone
from tests.fixtures_postgres import Database

START_SECONDS, PATIENCE = 240.0, 120.0
ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass(frozen=True)
class Service:
    """A running `wordwave up`."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path

    @property
    def log(self) -> Path:
        return self.home / "up.log"

    @property
    def password(self) -> str:
        """What the UI asks for once."""
        return read_password(self.home)

    @cached_property
    def client(self) -> httpx.Client:
        return api_client(f"{self.address}/api", self.password)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **content: Any) -> Any:
        """One request to Prefect's API, and what it answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.client.request(method, path, json=content or None)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                break
            time.sleep(0.5)  # SQLite was busy; Prefect's own clients ask again too
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployment(self, flow: str, name: str = DEPLOYMENT_NAME) -> Any:
        return self.ask("GET", f"/deployments/name/{flow}/{name}")

    def start(self, flow: str, **parameters: Any) -> str:
        """A run as a form would start it; its id."""
        path = f"/deployments/{self.deployment(flow)['id']}/create_flow_run"
        created = self.ask("POST", path, parameters=parameters, state={"type": "SCHEDULED"})
        return str(created["id"])

    def state(self, run: str) -> Any:
        return self.ask("GET", f"/flow_runs/{run}")["state"]

    def wait_for(self, run: str, types: frozenset[str] = ENDED, patience: float = PATIENCE) -> Any:
        """The state of a run, once it is one of these."""
        deadline = time.monotonic() + patience
        while (state := self.state(run))["type"] not in types:
            assert time.monotonic() < deadline, f"still {state['name']}\n{self.log.read_text()[-4000:]}"
            time.sleep(0.2)
        return state

    def cancel(self, run: str) -> None:
        """What the button of the UI does."""
        self.ask("POST", f"/flow_runs/{run}/set_state", state={"type": "CANCELLING"})

    def interrupt(self) -> int:
        """Ctrl-C as a terminal sends it; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE)


def wait_until(happened: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + patience
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def make_library(environment: Mapping[str, str], home: Path, folder: Path) -> None:
    """Import the library `sounds` of a low and a high tone, as on the command line."""
    folder.mkdir()
    labels = {"low": 220, "high": 3100}
    for label, pitch in labels.items():
        (folder / f"{label}.wav").write_bytes(tone(pitch))
    rows = [json.dumps({"path": f"{label}.wav", "label": label}) for label in labels]
    (folder / "manifest.jsonl").write_text("\n".join(rows))
    import_library(environment, home, str(folder / "manifest.jsonl"))


def import_library(environment: Mapping[str, str], home: Path, manifest: str) -> None:
    """Import the library `sounds` on the command line."""
    command = [sys.executable, "-m", "flows.cli", "library", "import", "sounds", manifest]
    subprocess.run(command, env={**os.environ, **environment, "WORDWAVE_HOME": str(home)}, check=True)


@contextmanager
def serving(environment: Mapping[str, str], home: Path, *options: str) -> Iterator[Service]:
    """`wordwave up` with its files at `home`; whatever of it is still there after the block is killed."""
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    given = {"WORDWAVE_HOME": str(home), "PYTHONUNBUFFERED": "1", "PREFECT_LOGGING_LEVEL": "WARNING"}
    with (home / "up.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "up", "--port", str(port), *options],
            env={**os.environ, **given, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    service = Service(process, port, home)
    try:
        _wait_until_offered(service)
        yield service
    finally:
        left = [process.pid, *descendants(process.pid)]
        for pid in filter(lives, left):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        if "client" in vars(service):
            service.client.close()


@contextmanager
def serving_sounds(
    database: Database, folder: Path, pitches: Mapping[str, int], patience: float = PATIENCE
) -> Iterator[Service]:
    """`wordwave up` over a folder, with the library `sounds` of a tone for each label, built by its flow."""
    for label, pitch in pitches.items():
        (folder / f"{label}.wav").write_bytes(tone(pitch))
    labels = [json.dumps({"path": f"{label}.wav", "label": label}) for label in pitches]
    (folder / "library.jsonl").write_text("\n".join(labels))
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_READ_ROOTS": str(folder),
        "WORDWAVE_DEVICE": "cpu",
        "WORDWAVE_LLM": "none",
    }
    with serving(environment, folder.parent / "home") as service:
        imported = service.start("build-library", library="sounds", manifest=str(folder / "library.jsonl"))
        assert service.wait_for(imported, patience=patience)["type"] == "COMPLETED"
        yield service


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_offered(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Ready" not in service.log.read_text():
        assert service.process.poll() is None, service.log.read_text()
        assert time.monotonic() < deadline, service.log.read_text()
        time.sleep(0.2)
