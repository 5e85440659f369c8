"""Nights in processes of their own, killed or cut off from the database at moments that a seed draws."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli.torture.sounds import PITCHES
from tests.e2e.nights import Course, Nights, wait_until_gone
from tests.e2e.world import LIBRARY, World
from tests.faults.conftest import SEED
from tests.faults.scene import Scene, Stage, Verdict
from tests.fixtures_postgres import Database, administer

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(600),
    pytest.mark.parametrize("scene", ["no checksums"], indirect=True),
]

MOMENTS, CUTS, COMMANDS = 20, 8, 5
OTHERS = "datname = '{name}' AND pid <> pg_backend_pid() AND {who}"
WHO = {
    "all connections": "true",
    "the lock's connection": "starts_with(application_name, 'wordwave pid')",
    "the pool's connections": "application_name = 'wordwave'",
}
COMMAND_SECONDS = 4.0
"""Of a command on an idle machine, most of them before it does anything."""
Record = Callable[[str, Verdict], None]


@pytest.fixture(scope="module")
def nights(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> tuple[Nights, Course]:
    """Nights of the scene as processes, and how one goes that nothing disturbs."""
    template = Database(scene.server, scene.template)
    world = World(scene.bucket, scene.bucket, template, tmp_path_factory.mktemp("world"))
    nights = Nights(world, lambda purpose: scene.new_bucket())
    with nights.fresh(world.home / "undisturbed") as fresh:
        course = nights.undisturbed(fresh)
        assert Stage(scene, fresh.database, fresh.results).outcome() == scene.expected
    return nights, course


def place(course: Course, name: str, number: int, count: int) -> tuple[int, float]:
    """Return a moment in its own part of the night, so that all parts are met."""
    drawn = random.Random(f"{SEED} {name} {number}").random()
    return course.place((number + drawn) / count)


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_night_that_is_killed(
    scene: Scene, nights: tuple[Nights, Course], record: Record, tmp_path: Path, number: int
) -> None:
    processes, course = nights
    with processes.fresh(tmp_path / "world") as world:
        children = processes.killed(world, place(course, "kill", number, MOMENTS))
        wait_until_gone(world, children)
        record("kill -9", judged(Stage(scene, world.database, world.results)))


@pytest.mark.parametrize("number", range(CUTS))
@pytest.mark.parametrize("who", WHO)
def test_a_night_whose_connections_are_cut(
    scene: Scene, nights: tuple[Nights, Course], record: Record, tmp_path: Path, who: str, number: int
) -> None:
    processes, course = nights
    with processes.fresh(tmp_path / "world") as world:
        told, seconds = place(course, who, number, CUTS)
        night = processes.start(world)
        for count, _ in enumerate(night.tells()):
            if count == told:
                time.sleep(seconds)
                cut(world.database, who)
        completed = night.end() == 0
        record(f"cut {who}", judged(Stage(scene, world.database, world.results), completed=completed))


def cut(database: Database, who: str) -> None:
    others = OTHERS.format(name=database.name, who=WHO[who])
    administer(database.server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")


def judged(stage: Stage, *, completed: bool = False) -> Verdict:
    """Return what came of the night, at once and after the next one."""
    verdict = Verdict(injected=1)
    stage.look_at_once(verdict, completed=completed)
    return stage.healed(verdict)


@pytest.mark.parametrize("number", range(COMMANDS))
def test_a_command_that_is_killed(stage: Stage, record: Record, number: int) -> None:
    process = command(stage)
    rng = random.Random(f"{SEED} command {number}")
    time.sleep(COMMAND_SECONDS * (number + rng.random()) / COMMANDS)
    process.kill()
    process.communicate()
    verdict = Verdict(injected=1)
    stage.look_at_once(verdict, completed=False)
    printed, errors = command(stage).communicate(timeout=240)
    answers = {row["uri"]: row.get("label") for row in map(json.loads, printed.splitlines())}
    assert answers == {uri: row["label"] for uri, row in stage.scene.expected.items()}, errors
    assert set(answers.values()) - {None} <= set(PITCHES)
    record("kill -9 of the command", stage.healed(verdict))


def command(stage: Stage) -> "subprocess.Popen[str]":
    """Start `wordwave label` as a person does."""
    settings = stage.settings
    given = {
        "WORDWAVE_HOME": str(settings.home),
        "WORDWAVE_DATABASE_URL": stage.database.url("writer"),
        "WORDWAVE_STORAGE_URI": settings.storage_uri,
        "WORDWAVE_S3_ENDPOINT_URL": str(settings.s3_endpoint_url),
        "WORDWAVE_LLM": "none",
    }
    words = ["-m", "flows.cli", "label", stage.scene.place, "--library", LIBRARY, "--format", "json"]
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
