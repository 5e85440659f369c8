"""A real Label Studio, installed from its package into an environment of its own and asked over its API."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.processes import descendants, lives
from tests.e2e.service import free_port

PACKAGE = "label-studio==1.23.2"
"""Its pins do not go with ours, so it is never installed beside us."""
OWNER, PASSWORD, TOKEN = "anna@example.org", "only-for-this-test", "0123456789abcdef" * 2 + "01234567"
START_SECONDS = 420.0


@dataclass(frozen=True)
class LabelStudio:
    """A running server, as its owner asks it."""

    address: str

    @cached_property
    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Token {TOKEN}"}, timeout=120)

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        answer = self.client.request(method, path, json=content)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def new_project(self, title: str, config: str, tasks: Any) -> int:
        """A project with a labeling config and its tasks; Label Studio checks both."""
        project = int(self.ask("POST", "/api/projects", {"title": title, "label_config": config})["id"])
        imported = self.ask("POST", f"/api/projects/{project}/import", tasks)
        assert imported["task_count"] == len(tasks)
        return project

    def tasks(self, project: int) -> list[Any]:
        """The tasks in the order of their numbers."""
        found = self.ask("GET", f"/api/tasks?project={project}&page_size=100&fields=all")["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def annotate(self, task: int, label: str | None) -> int:
        """Submits a label for a task, or skips it; the annotation's number."""
        result = [] if label is None else [choice(label)]
        said = {"result": result, "was_cancelled": label is None}
        return int(self.ask("POST", f"/api/tasks/{task}/annotations", said)["id"])

    def change(self, annotation: int, label: str) -> None:
        self.ask("PATCH", f"/api/annotations/{annotation}", {"result": [choice(label)]})

    def export(self, project: int) -> str:
        """The JSON export as the button of the project gives it: annotators are numbers."""
        answer = self.client.get(f"/api/projects/{project}/export?exportType=JSON&download_all_tasks=true")
        assert answer.is_success, answer.text
        return answer.text

    def snapshot(self, project: int) -> str:
        """A snapshot with the annotators' addresses."""
        who = {"serialization_options": {"annotations__completed_by": {"only_id": False}}}
        made = self.ask("POST", f"/api/projects/{project}/exports", who)
        answer = self.client.get(f"/api/projects/{project}/exports/{made['id']}/download?exportType=JSON")
        assert answer.is_success, answer.text
        return answer.text


def choice(label: str) -> Any:
    """What the page of a task submits for a label."""
    return {"from_name": "label", "to_name": "audio", "type": "choices", "value": {"choices": [label]}}


@contextmanager
def label_studio(folder: Path) -> Iterator[LabelStudio]:
    """Install and start Label Studio on SQLite, all of it below a folder; it ends with the block."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", PACKAGE]
    subprocess.run(pip, check=True, capture_output=True)
    port = free_port()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            _command(environment, folder / "data", port),
            env=_environment(folder / "data"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = LabelStudio(f"http://127.0.0.1:{port}")
    try:
        _wait(server, process, folder / "server.log")
        yield server
    finally:
        for pid in filter(lives, [process.pid, *descendants(process.pid)]):
            os.kill(pid, 9)
        process.wait()
        server.client.close()


def _command(environment: Path, data: Path, port: int) -> list[str]:
    options = {"--port": str(port), "--internal-host": "127.0.0.1", "--data-dir": str(data)}
    owner = {"--username": OWNER, "--password": PASSWORD, "--user-token": TOKEN}
    pairs = [part for pair in (options | owner).items() for part in pair]
    return [str(environment / "bin" / "label-studio"), "start", "--no-browser", *pairs]


def _environment(data: Path) -> dict[str, str]:
    data.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DJANGO"))}
    own = {"DJANGO_DB": "sqlite", "LABEL_STUDIO_BASE_DATA_DIR": str(data), "HOME": str(data)}
    quiet = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": ""}
    return kept | own | quiet | {"LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true"}


def _wait(server: LabelStudio, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_up(server):
        assert process.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.5)


def _is_up(server: LabelStudio) -> bool:
    try:
        return server.client.get("/health").is_success
    except httpx.TransportError:
        return False
