"""A night of 1,800 clips is watched from the outside: its log, its progress, its pages."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.processes import command, descendants
from tests.e2e.service import ENDED, Service, make_library, serving
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CLIPS, INFO, LINES = 1800, 20, 60
PATIENCE = 900.0


@dataclass(frozen=True)
class Served:
    """A service, the folder that it may read, and its database."""

    service: Service
    folder: Path
    database: Database


@pytest.fixture(scope="module")
def served(
    postgres: EmbeddedServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A service with a folder of many short clips and a library."""
    root, home = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("home")
    folder = root / "2026-11-21"
    folder.mkdir()
    for number in range(CLIPS):
        (folder / f"{number:04}.wav").write_bytes(tone(200 + number, 1.0))
    with migrated_database(postgres, migrated_template) as database:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_READ_ROOTS": str(root),
            "WORDWAVE_BATCH_SIZE": "100",
            "PREFECT_LOGGING_LEVEL": "INFO",
        }
        make_library(environment, home, root / "library")
        with serving(environment, home) as service:
            yield Served(service, folder, database)


def artifacts(service: Service, run: str) -> dict[str, Any]:
    """What a flow run left, by key."""
    wanted = {"flow_run_id": {"any_": [run]}}
    return {one["key"]: one for one in service.ask("POST", "/artifacts/filter", artifacts=wanted)}


def log(service: Service, run: str) -> list[str]:
    wanted = {"flow_run_id": {"any_": [run]}, "level": {"ge_": INFO}}
    return [one["message"] for one in service.ask("POST", "/logs/filter", logs=wanted, limit=200)]


def test_a_large_night_says_how_far_it_is_in_few_lines_and_names_all_its_clips(served: Served) -> None:
    service, moved = served.service, set[float]()
    prefix = f"{served.folder.parent}/{{day}}"
    run = service.start("nightly-labeling", prefix=prefix, library="sounds", day="2026-11-21")
    deadline = time.monotonic() + PATIENCE
    while service.state(run)["type"] not in ENDED:
        assert time.monotonic() < deadline
        for key, found in artifacts(service, run).items():
            if key.endswith("-progress"):
                moved.add(float(found["data"]))
        time.sleep(0.5)
    state = service.state(run)
    lines = log(service, run)
    print(len(lines), *lines, sep="\n")
    assert state["type"] == "COMPLETED"
    assert "1,800 labeled, 0 set aside, 0 doubtful" in state["message"]
    assert len(lines) < LINES
    assert not any("{" in line for line in lines)
    assert any("of 18 batches" in line for line in lines)
    assert len(moved) > 3
    page = artifacts(service, run)["nightly-labeling-summary"]["data"]
    assert "The table shows 200 of 1,800 clips" in page
    where = page.partition("WHERE starts_with(")[2].partition(")`")[0]
    question = f"SELECT count(*) FROM analytics.labels WHERE starts_with({where})"
    assert rows(served.database.url("analyst"), question) == [{"count": CLIPS}]


def test_a_run_that_is_killed_leaves_the_page_of_what_it_had_done(served: Served) -> None:
    service, folder = served.service, served.folder / "killed"
    folder.mkdir()
    for number in range(CLIPS // 2):
        (folder / f"{number:04}.wav").write_bytes(tone(300 + number, 0.2))
    run = service.start("nightly-labeling", prefix=str(folder), library="sounds", day="any")
    while not (row := killed_run(served)) or not row["counts"].get("tokenize.tokenized"):
        time.sleep(0.2)
    [pid] = [one for one in descendants(service.process.pid) if "prefect.engine" in command(one)]
    os.kill(pid, signal.SIGKILL)
    assert service.wait_for(run)["type"] == "CRASHED"
    deadline = time.monotonic() + 60
    while "nightly-labeling-summary" not in (found := artifacts(service, run)):
        assert time.monotonic() < deadline, found.keys()
        time.sleep(0.5)
    page = found["nightly-labeling-summary"]["data"]
    assert f"Run `{row['id']}`, flow run `{run}`" in page
    assert "This run crashed: Process exited with status code: -9" in page
    assert "| tokenize | tokenized | " in page


def killed_run(served: Served) -> dict[str, Any] | None:
    question = "SELECT id, counts FROM runs WHERE partition_key LIKE '%/killed'"
    found = rows(served.database.url("writer"), question)
    return found[0] if found else None
