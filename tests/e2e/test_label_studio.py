"""A queue annotated in a real Label Studio: decisions come back once, and the next version learns them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.label_studio import OWNER, LabelStudio, label_studio
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

PITCHES = {"low": 200, "high": 3000}
DECISIONS = "SELECT verdict, label, reviewer, uri FROM analytics.review_decisions ORDER BY decision"


@dataclass(frozen=True)
class Desk:
    """A library, a labeled folder of clips, and the commands."""

    folder: Path
    database: Database

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {
            "WORDWAVE_HOME": str(self.folder / "home"),
            "WORDWAVE_DATABASE_URL": self.database.url("writer"),
            "WORDWAVE_DEVICE": "cpu",
            "WORDWAVE_LLM": "none",
            "WORDWAVE_READ_ROOTS": str(self.folder),
        }
        command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
        done = subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done

    def decisions(self) -> list[dict[str, Any]]:
        return rows(self.database.url("writer"), DECISIONS)


@pytest.fixture
def desk(postgres: EmbeddedServer, migrated_template: str, tmp_path: Path) -> Iterator[Desk]:
    for place in ("clips", "library"):
        (tmp_path / place).mkdir()
    for label, pitch in PITCHES.items():
        (tmp_path / "library" / f"{label}.wav").write_bytes(tone(pitch))
        for number in range(4):
            (tmp_path / "clips" / f"{label} {number}.wav").write_bytes(tone(pitch + 70 * (number + 1)))
    manifest = tmp_path / "library" / "sounds.jsonl"
    manifest.write_text("".join(json.dumps({"path": f"{one}.wav", "label": one}) + "\n" for one in PITCHES))
    with migrated_database(postgres, migrated_template) as database:
        desk = Desk(tmp_path, database)
        desk.run("library", "import", "sounds", manifest)
        desk.run("label", tmp_path / "clips", "--library", "sounds")
        yield desk


@pytest.fixture
def audio(tmp_path: Path) -> Iterator[str]:
    """The address below which the files of the desk are served."""
    handler = partial(SimpleHTTPRequestHandler, directory="/")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[LabelStudio]:
    (tmp_path / "studio").mkdir()
    with label_studio(tmp_path / "studio") as server:
        yield server


def label_of(task: Any) -> str:
    """What a clip is called: its name begins so."""
    return str(task["data"]["uri"]).rpartition("/")[2].partition("%20")[0]


def test_a_queue_is_annotated_in_label_studio_and_learned(
    desk: Desk, audio: str, studio: LabelStudio
) -> None:
    written = desk.run(
        "review-queue",
        "sounds",
        "--size",
        6,
        "--label-studio",
        desk.folder / "project",
        "--audio-url",
        f"{audio}/{{path}}",
    )
    tasks_file, config_file = (Path(line) for line in written.stdout.splitlines())
    tasks, config = json.loads(tasks_file.read_text()), config_file.read_text()
    for task in tasks:
        clip = httpx.get(task["data"]["audio"])
        assert clip.content[:4] == b"RIFF"
    project = studio.new_project("sounds", config, tasks)
    there = studio.tasks(project)
    assert [task["data"]["review"] for task in there] == [task["data"]["review"] for task in tasks]
    assert [len(task["predictions"]) for task in there] == [len(task["predictions"]) for task in tasks]
    made = [studio.annotate(task["id"], label_of(task)) for task in there[:4]]
    studio.annotate(there[4]["id"], "none of these")
    studio.annotate(there[5]["id"], None)

    export = desk.folder / "export.json"
    export.write_text(studio.export(project))
    first = desk.run("review-import", export, "--reviewer", "anna")
    assert json.loads(first.stdout) == {"new": 6}
    assert json.loads(desk.run("review-import", export, "--reviewer", "anna").stdout) == {"new": 0}
    expected = [("label", label_of(task)) for task in there[:4]] + [("none", None), ("skip", None)]
    assert [(row["verdict"], row["label"]) for row in desk.decisions()] == expected
    assert {row["reviewer"] for row in desk.decisions()} == {"anna"}

    # somebody thinks again, and a snapshot says who
    other = next(label for label in PITCHES if label != label_of(there[0]))
    studio.change(made[0], other)
    export.write_text(studio.snapshot(project))
    again = desk.run("review-import", export)
    assert json.loads(again.stdout) == {"new": 1}
    last = desk.decisions()[-1]
    assert (last["label"], last["reviewer"]) == (other, OWNER)

    learned = json.loads(desk.run("learn", "sounds", "--promote", "never").stdout)
    assert (learned["version"], learned["promoted"]) == (2, False)
    demonstrated = desk.run("library", "export", "sounds@2").stdout
    chosen = [task for task in there[1:4] if task["predictions"]]
    assert chosen
    for task in chosen:
        assert json.dumps({"path": task["data"]["uri"], "label": label_of(task)}) in demonstrated

    # the annotated clips are a library of their own, too
    desk.run("library", "import", "annotated", export)
    shown = desk.run("library", "export", "annotated").stdout
    assert len(shown.splitlines()) == len(made)
