"""A library that learns in `wordwave up`: put into use by rule, or by a person where the rule is not sure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.embedded.server import EmbeddedServer
from db.engine import make_engine, session_scope
from db.reviews.decisions import NewDecision, add_decisions
from db.reviews.queue import QueuedClip, open_queue
from tests.e2e.service import ENDED, Service, serving_sounds
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]

PAUSED = ENDED | {"PAUSED"}
PATIENCE = 600.0
"""Seconds for a night or a lesson, each with a process of its own, where others work on the machine too."""
USED = """
SELECT s.version FROM library_uses u JOIN demonstration_sets s ON s.id = u.demonstration_set_id
WHERE s.name = 'sounds' ORDER BY u.id DESC LIMIT 1
"""


@pytest.fixture
def place(
    postgres: EmbeddedServer, migrated_template: str, tmp_path: Path
) -> Iterator[tuple[Service, Database, Path]]:
    """A service with a library that has its labels the wrong way round, and sixteen clips."""
    folder = tmp_path / "clips"
    (folder / "day").mkdir(parents=True)
    for number in range(8):
        (folder / "day" / f"low-{number}.wav").write_bytes(tone(210 + 10 * number))
        (folder / "day" / f"high-{number}.wav").write_bytes(tone(2800 + 30 * number))
    with (
        migrated_database(postgres, migrated_template) as database,
        serving_sounds(database, folder, {"low": 3000, "high": 200}, PATIENCE) as service,
    ):
        yield service, database, folder / "day"


def night(service: Service, folder: Path) -> None:
    run = service.start("nightly-labeling", prefix=str(folder), library="sounds", day="any")
    assert service.wait_for(run, patience=PATIENCE)["type"] == "COMPLETED"


def decide(database: Database, most: int) -> list[QueuedClip]:
    """Decide the first clips that wait by their names."""
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        clips = [one for one in open_queue(session, "sounds") if most > 2 or one.drawn == "chosen"][:most]
        decisions = [
            NewDecision(
                clip.review, "label", name_of(clip), None, "anna", "test", {}, f"{clip.review} of the test"
            )
            for clip in clips
        ]
        assert add_decisions(session, "csv", decisions) == len(clips) > 0
    engine.dispose()
    return clips


def name_of(clip: QueuedClip) -> str:
    return clip.uri.rpartition("/")[2].partition("-")[0]


def used(database: Database) -> int:
    (row,) = rows(database.url("writer"), USED)
    return int(row["version"])


def right(database: Database) -> int:
    """How many of the sixteen clips have the label that their names say."""
    query = "SELECT uri, label FROM analytics.labels WHERE library = 'sounds' AND uri LIKE '%/day/%'"
    found = rows(database.url("analyst"), query)
    assert len(found) == 16
    return sum(row["label"] in row["uri"].rpartition("/")[2] for row in found)


def pages(service: Service, run: str) -> str:
    """The markdown pages that a flow run has left."""
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["markdown"]}}}
    found = service.ask("POST", "/artifacts/filter", **asked)
    return "\n".join(str(one["data"]) for one in found)


def test_a_sure_gain_is_put_into_use_and_an_unsure_one_waits_for_a_person(
    place: tuple[Service, Database, Path],
) -> None:
    service, database, folder = place
    night(service, folder)
    assert right(database) == 0
    decide(database, 10)
    sure = service.start("learn-library", library="sounds")
    ended = service.wait_for(sure, PAUSED, PATIENCE)
    assert (ended["type"], used(database)) == ("COMPLETED", 2), ended
    assert "your 10 answers moved" in ended["message"]
    assert right(database) > 8
    assert "is better" in pages(service, sure)

    night(service, folder)
    decide(database, 1)
    refused = service.start("learn-library", library="sounds")
    assert service.wait_for(refused, PAUSED, PATIENCE)["type"] == "PAUSED"
    assert "is not better for sure" in pages(service, refused)  # read before anybody agrees
    assert used(database) == 2
    service.cancel(refused)
    assert service.wait_for(refused, patience=PATIENCE)["type"] == "CANCELLED"
    assert used(database) == 2

    agreed = service.start("learn-library", library="sounds", promote="ask")
    assert service.wait_for(agreed, PAUSED, PATIENCE)["type"] == "PAUSED"
    service.ask("POST", f"/flow_runs/{agreed}/resume")
    assert service.wait_for(agreed, patience=PATIENCE)["type"] == "COMPLETED"
    assert used(database) == 3

    compared = service.start("compare-library", library="sounds@1")
    assert service.wait_for(compared, patience=PATIENCE)["type"] == "COMPLETED"
    assert "wordwave library promote sounds@1" in pages(service, compared)
    assert used(database) == 3
