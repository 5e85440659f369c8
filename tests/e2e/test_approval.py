"""A night that asks for approval, in `wordwave up`: it waits for a person, and ends where one says no."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.processes import command, descendants, lives
from tests.e2e.service import Service, serving_sounds
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAUSED = frozenset({"PAUSED", "FAILED", "CRASHED", "COMPLETED"})
CANCELLED_WITHIN = 15.0


@pytest.fixture
def place(
    postgres: EmbeddedServer, migrated_template: str, tmp_path: Path
) -> Iterator[tuple[Service, Database, Path]]:
    """A service with a library, and a folder of two clips."""
    folder = tmp_path / "clips"
    (folder / "day").mkdir(parents=True)
    for name, hertz in {"a": 210, "b": 2900}.items():
        (folder / "day" / f"{name}.wav").write_bytes(tone(hertz))
    with (
        migrated_database(postgres, migrated_template) as database,
        serving_sounds(database, folder, {"low": 200, "high": 3000}) as service,
    ):
        yield service, database, folder / "day"


def waiting(service: Service, folder: Path) -> str:
    """A night that has shown its plan."""
    asked = {"prefix": str(folder), "library": "sounds", "day": "any", "approve": True}
    run = service.start("nightly-labeling", **asked)
    assert service.wait_for(run, PAUSED)["type"] == "PAUSED"
    return run


def nights(database: Database) -> list[str]:
    found = rows(database.url("writer"), "SELECT status FROM runs WHERE kind = 'nightly-labeling'")
    return [row["status"] for row in found]


def test_a_night_waits_for_a_person_who_lets_it_run_or_cancels_it(
    place: tuple[Service, Database, Path],
) -> None:
    service, database, folder = place
    refused = waiting(service, folder)
    pids = [pid for pid in descendants(service.process.pid) if "prefect.engine" in command(pid)]
    assert pids
    service.cancel(refused)
    asked = time.monotonic()
    while any(map(lives, pids)):
        assert time.monotonic() - asked < CANCELLED_WITHIN
        time.sleep(0.1)
    assert service.wait_for(refused)["type"] == "CANCELLED"
    assert nights(database) == []
    run = waiting(service, folder)
    assert nights(database) == []
    service.ask("POST", f"/flow_runs/{run}/resume")
    assert service.wait_for(run)["type"] == "COMPLETED"
    assert nights(database) == ["completed"]
