"""A night that is killed at any moment and run again ends as if nothing had happened."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.clips import demonstrations, real_clips
from tests.e2e.conftest import NewBucket
from tests.e2e.nights import KIND, Course, Nights, Outcome, outcome, wait_until_gone
from tests.e2e.tables import Row, rows
from tests.e2e.world import World, import_into, opened, plain
from tests.fixtures_postgres import migrated_database

pytestmark = pytest.mark.data

SEED = 1
FEW_MOMENTS, MANY_MOMENTS = 5, 20
EXPORT = ["run/labels.jsonl", "run/labels.parquet", "run/manifest.json"]
LAKE = ["labels/library=sounds/labels.parquet", "tokens/codec/tokens.parquet"]
WRITERS = """
    SELECT run_id FROM predictions UNION SELECT run_id FROM exports
    UNION SELECT first_run FROM quarantine UNION SELECT last_run FROM quarantine
    UNION SELECT run_id FROM token_sequences JOIN clips USING (content_sha256) WHERE uri ^@ '{place}/'
      AND content_sha256 NOT IN (SELECT content_sha256 FROM demonstrations)
"""


@dataclass(frozen=True)
class Undisturbed:
    """How a night goes that nobody kills, and what it leaves behind."""

    nights: Nights
    course: Course
    outcome: Outcome


Prepare = Callable[[int, int, int], AbstractContextManager[Undisturbed]]


@pytest.fixture(scope="module")
def prepare(
    test_data: Path,
    new_bucket: NewBucket,
    postgres: EmbeddedServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Prepare:
    """Puts so many digits, sounds and odd files, imports a library, and watches a first night."""

    @contextmanager
    def prepared(digits: int, sounds: int, odd: int) -> Iterator[Undisturbed]:
        home = tmp_path_factory.mktemp("home")
        with migrated_database(postgres, migrated_template) as database:
            world = World(new_bucket("clips"), new_bucket("unused"), database, home)
            for name, data in real_clips(test_data, digits, sounds, odd).items():
                world.put(name, data)
            with opened(world.settings) as runtime:
                import_into(runtime, world.put_library(*demonstrations(test_data)))
            nights = Nights(world, new_bucket)
            with nights.fresh(home / "night") as fresh:
                course = nights.undisturbed(fresh)
                left = outcome(fresh)
            yield Undisturbed(nights, course, left)

    return prepared


@pytest.fixture(scope="module")
def few(prepare: Prepare) -> Iterator[Undisturbed]:
    """Sixty clips, so that a night takes seconds."""
    with prepare(36, 4, 20) as undisturbed:
        yield undisturbed


@pytest.fixture(scope="module")
def many(prepare: Prepare) -> Iterator[Undisturbed]:
    """All 370 clips."""
    with prepare(127, 73, 170) as undisturbed:
        yield undisturbed


@pytest.mark.parametrize("number", range(FEW_MOMENTS))
def test_a_night_killed_and_run_again_ends_like_an_undisturbed_one(
    few: Undisturbed, tmp_path: Path, number: int
) -> None:
    check_kill(few, tmp_path, moment(number, FEW_MOMENTS))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(MANY_MOMENTS))
def test_a_long_night_killed_and_run_again_ends_like_an_undisturbed_one(
    many: Undisturbed, tmp_path: Path, number: int
) -> None:
    check_kill(many, tmp_path, moment(number, MANY_MOMENTS))


def test_a_night_killed_again_and_again_ends_like_an_undisturbed_one(
    few: Undisturbed, tmp_path: Path
) -> None:
    with few.nights.fresh(tmp_path) as world:
        for batches in (1, 2, 1):
            wait_until_gone(world, few.nights.killed(world, (batches, 0.0)))
        assert few.nights.start(world).end() == 0
        assert [run["attempts"] for run in runs(world)] == [4]
        check_left_behind(world, few.outcome)


def test_a_night_killed_at_each_object_that_it_writes_ends_like_an_undisturbed_one(
    few: Undisturbed, tmp_path: Path
) -> None:
    with few.nights.fresh(tmp_path) as world:
        names = ["labels.parquet", "labels.jsonl", "manifest.json"]
        for number, name in enumerate(names, start=1):
            few.nights.killed_at(world, name)
            wait_until_gone(world, [])
            left = {plain(key).rpartition("/")[2] for key in world.objects()}
            assert left == set(names[:number])
            assert [run["status"] for run in runs(world)] == ["running"]
        assert few.nights.start(world).end() == 0
        assert [run["attempts"] for run in runs(world)] == [4]
        check_left_behind(world, few.outcome)


def test_two_processes_over_the_same_clips_leave_what_one_does(few: Undisturbed, tmp_path: Path) -> None:
    with few.nights.fresh(tmp_path) as world:
        kinds = (KIND, "label")  # which do not hold each other off
        nights = [few.nights.start(world, kind) for kind in kinds]
        assert [night.end() for night in nights] == [0, 0]
        left, expected = outcome(world), few.outcome
        for name in left.tables.keys() - {"runs", "exports"}:
            assert without_attempts(left.tables[name]) == without_attempts(expected.tables[name]), name
        assert (left.labels, left.columns) == (expected.labels, expected.columns)


def without_attempts(table: list[Row]) -> list[Row]:
    """Rows without how often a clip was tried: each process may have."""
    return [{name: value for name, value in row.items() if name != "attempts"} for row in table]


def test_a_write_to_a_folder_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    fifo, results = tmp_path / "endless", tmp_path / "results"
    os.mkfifo(fifo)
    code = (
        "import sys; from pathlib import Path; from flows.pipeline.configuration.settings import Settings; "
        "from flows.pipeline.storage import open_storage; "
        "settings = Settings(home=sys.argv[1], storage_uri=sys.argv[2]); "
        "open_storage(sys.argv[2], settings).write('key', Path(sys.argv[3]))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(results), str(fifo)])
    with fifo.open("wb") as source:
        source.write(bytes(4 * 2**20))
        writer.kill()
        writer.wait()
    assert [path for path in results.rglob("*") if path.is_file()] == []


def test_an_undisturbed_night_leaves_its_export_alone(few: Undisturbed) -> None:
    assert few.outcome.objects == [*LAKE[:1], *EXPORT, *LAKE[1:]]
    assert len(few.course.told) > FEW_MOMENTS  # so many batches that moments fall between them


def moment(number: int, count: int) -> float:
    """A moment of the night, 0 to 1: at random in its own part of it, so that all parts are met."""
    return (number + random.Random(SEED + number).random()) / count


def check_kill(undisturbed: Undisturbed, home: Path, moment: float) -> None:
    nights = undisturbed.nights
    with nights.fresh(home) as world:
        decoders = nights.killed(world, undisturbed.course.place(moment))
        wait_until_gone(world, decoders)
        before = runs(world)
        assert nights.start(world).end() == 0
        # A night that was killed after its last word is done, and the next is one of its own.
        done = [run for run in before if run["status"] == "completed"]
        assert [run["status"] for run in runs(world)] == ["completed"] * (len(done) + 1)
        check_left_behind(world, undisturbed.outcome)


def runs(world: World) -> list[Row]:
    """The nights of a world, as they began."""
    query = f"SELECT * FROM runs WHERE kind = '{KIND}' ORDER BY started_at"
    return rows(world.database.url("writer"), query)


def check_left_behind(world: World, expected: Outcome) -> None:
    left = outcome(world)
    for name in expected.tables.keys() - {"runs"}:
        assert left.tables[name] == expected.tables[name], name
    assert (left.labels, left.columns) == (expected.labels, expected.columns)
    assert left.objects == expected.objects
    writers = rows(world.database.url("writer"), WRITERS.format(place=world.place))
    assert [row["run_id"] for row in writers] == [runs(world)[0]["id"]]
    assert sorted((world.home / "scratch").glob("wordwave-*")) == []
