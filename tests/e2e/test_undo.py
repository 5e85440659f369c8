"""What a run answered is taken back and given again, as analysts see it."""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from db.locks import PartitionBusy, partition_lock
from flows.cli.main import wordwave
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import rows
from tests.e2e.world import World, import_into, night, opened, tone

CLIPS = {"a.wav": tone(210), "b.wav": tone(2900)}
LIBRARY = {"low.wav": tone(200), "high.wav": tone(3000)}
FIRST = {"low.wav": "low", "high.wav": "high"}
SECOND = {"low.wav": "bass", "high.wav": "treble"}


@pytest.fixture
def runtime(world: World) -> Iterator[Runtime]:
    for name, data in CLIPS.items():
        world.put(name, data)
    with opened(world.settings) as runtime:
        yield runtime


def answered(world: World, runtime: Runtime, labels: dict[str, str]) -> UUID:
    """A night by a library version of these labels, which is put into use."""
    import_into(runtime, world.put_library(LIBRARY, labels), promote=True)
    return night(runtime, world.place).run.id


def current(world: World) -> dict[str, str]:
    """What analysts see, by the clip's name."""
    question = f"SELECT uri, label FROM analytics.labels WHERE uri ^@ '{world.place}'"
    found = rows(world.database.url("analyst"), question)
    return {row["uri"].rpartition("/")[2]: row["label"] for row in found}


def test_undo_brings_back_the_old_answers_and_redo_the_new(world: World, runtime: Runtime) -> None:
    answered(world, runtime, FIRST)
    old = current(world)
    new_run = answered(world, runtime, SECOND)
    new = current(world)
    assert (old, new) == ({"a.wav": "low", "b.wav": "high"}, {"a.wav": "bass", "b.wav": "treble"})
    stored = rows(world.database.url("writer"), "SELECT id FROM predictions ORDER BY id")
    undone = undo(runtime, new_run)
    assert (dict(undone.counts), current(world)) == ({"undo.retracted": 2}, old)
    redone = undo(runtime, undone.id)
    assert (dict(redone.counts), current(world)) == ({"undo.restored": 2}, new)
    again = undo(runtime, redone.id)
    assert (dict(again.counts), current(world)) == ({"undo.retracted": 2}, old)
    assert rows(world.database.url("writer"), "SELECT id FROM predictions ORDER BY id") == stored


def test_work_that_was_undone_is_done_anew_by_the_next_night(world: World, runtime: Runtime) -> None:
    first = answered(world, runtime, FIRST)
    undone = undo(runtime, first)
    assert current(world) == {}
    assert night(runtime, world.place).run.counts["label.labeled"] == 2
    assert undo(runtime, undone.id).counts["undo.restored"] == 0
    assert current(world) == {"a.wav": "low", "b.wav": "high"}


def test_a_run_under_way_is_not_undone(world: World, runtime: Runtime) -> None:
    first = answered(world, runtime, FIRST)
    [run] = rows(world.database.url("writer"), f"SELECT partition_key FROM runs WHERE id = '{first}'")
    with partition_lock(runtime.database_url, run["partition_key"]), pytest.raises(PartitionBusy):
        undo(runtime, first)
    assert len(current(world)) == 2


def test_a_run_without_answers_is_not_undone(world: World, runtime: Runtime) -> None:
    import_into(runtime, world.put_library(LIBRARY, FIRST))
    [run] = rows(world.database.url("writer"), "SELECT id FROM runs WHERE kind = 'build-library'")
    with pytest.raises(ValueError, match=r"\(build-library\) wrote no answers: there is nothing to undo"):
        undo(runtime, run["id"])


def test_the_command_line_undoes_a_run(
    world: World, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answered(world, runtime, FIRST)
    monkeypatch.setenv("WORDWAVE_HOME", str(world.home))
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", world.database.url("writer"))
    wordwave(["undo", str(first)], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["undo.retracted"] == 2
    assert current(world) == {}
