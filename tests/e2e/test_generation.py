"""Audio in a bucket: the same after a kill and another run, asked for once, and checked by verify-run."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.embedded.server import EmbeddedServer
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.job import Generated, run_texts
from flows.pipeline.generation.texts import given_texts
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.maintenance.verify import verify_run
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.conftest import NewBucket
from tests.e2e.nights import wait_until_gone
from tests.e2e.s3_log import Request, heard, recorded
from tests.e2e.speaking import BATCH, REQUEST, TEXTS, start
from tests.e2e.tables import Row, Tables, rows, tables, what_was_done
from tests.e2e.world import World, calls, opened, tone
from tests.fixtures_postgres import migrated_database
from tests.flows.pipeline.labeling.test_label import write_llama


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_llama(tmp_path_factory.mktemp("llm")))


def put_spoken(world: World, llm: str) -> None:
    """Puts a library for speech and imports it."""
    lines = []
    for name, hertz in {"one": 300, "two": 900}.items():
        world.clips.put(f"library/{name}.wav", tone(hertz, 0.72))
        lines.append(json.dumps({"path": f"{name}.wav", "text": name}))
    manifest = world.clips.put("library/spoken.jsonl", "\n".join(lines).encode())
    with opened(settings(world, llm)) as runtime:
        import_manifest(runtime, "spoken", manifest, "speech")


def settings(world: World, llm: str) -> Settings:
    return world.settings.model_copy(update={"generation_llm": llm})


def speak(runtime: Runtime) -> Generated:
    return run_texts(runtime, "speech", REQUEST, given_texts(TEXTS), with_bar)


@pytest.fixture(scope="module")
def prepared(
    new_bucket: NewBucket,
    postgres: EmbeddedServer,
    migrated_template: str,
    llm: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """A world with a library, in which nothing is generated."""
    with migrated_database(postgres, migrated_template) as database:
        home = tmp_path_factory.mktemp("home")
        world = World(new_bucket("clips"), new_bucket("unused"), database, home)
        put_spoken(world, llm)
        yield world


@pytest.fixture
def fresh(prepared: World, new_bucket: NewBucket, tmp_path: Path) -> Iterator[World]:
    """A copy of it: results and a database of its own."""
    with migrated_database(prepared.database.server, prepared.database.name) as database:
        yield replace(prepared, results=new_bucket("results"), database=database, home=tmp_path)


def audio(world: World) -> dict[str, bytes]:
    """The generated objects."""
    return {key: data for key, data in world.objects().items() if key.startswith("generated/")}


def left_behind(world: World) -> Tables:
    """What a run left in the database; objects lie in a bucket of their own."""
    found = what_was_done(tables(world.database.url("writer")))
    for row in found["generated_audio"]:
        row["uri"] = row["uri"].removeprefix(world.results.uri)
    return {name: found[name] for name in found if name not in {"runs", "exports"}}


@pytest.fixture(scope="module")
def undisturbed(
    prepared: World, new_bucket: NewBucket, llm: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tables, dict[str, bytes]]:
    """What a run that nobody kills leaves."""
    home = tmp_path_factory.mktemp("undisturbed")
    with migrated_database(prepared.database.server, prepared.database.name) as database:
        world = replace(prepared, results=new_bucket("results"), database=database, home=home)
        assert start(world, llm).end() == 0
        return left_behind(world), audio(world)


def check_left_behind(world: World, undisturbed: tuple[Tables, dict[str, bytes]]) -> None:
    """As if nothing had happened: the same rows, all of one run, the same bytes, and one page."""
    expected, objects = undisturbed
    assert left_behind(world) == expected
    assert audio(world) == objects
    assert len(objects) == len(TEXTS)
    [run] = runs(world)
    writers = rows(world.database.url("writer"), "SELECT DISTINCT run_id FROM generated_audio")
    assert (run["status"], writers) == ("completed", [{"run_id": run["id"]}])
    assert world.objects().keys() - objects.keys() == {f"runs/{run['id']}/generated.html"}


def runs(world: World) -> list[Row]:
    return rows(world.database.url("writer"), "SELECT * FROM runs WHERE kind = 'generate-speech'")


@pytest.mark.parametrize("told", [1, 3])
def test_a_run_killed_after_a_batch_and_run_again_ends_like_an_undisturbed_one(
    fresh: World, llm: str, undisturbed: tuple[Tables, dict[str, bytes]], told: int
) -> None:
    night = start(fresh, llm)
    for number, _ in enumerate(night.tells()):
        if number == told:
            break
    wait_until_gone(fresh, night.kill())
    assert start(fresh, llm).end() == 0
    check_left_behind(fresh, undisturbed)


@pytest.mark.parametrize("written", [1, BATCH, BATCH + 2, len(TEXTS), len(TEXTS) + 1])
def test_a_run_killed_as_it_writes_an_object_ends_like_an_undisturbed_one(
    fresh: World, llm: str, undisturbed: tuple[Tables, dict[str, bytes]], written: int
) -> None:
    night = start(fresh, llm)
    seen: list[Request] = []

    def strike(request: Request) -> None:
        if request.writes:
            seen.append(request)
            if len(seen) == written:
                night.strike()

    with heard(strike):
        night.end()
    wait_until_gone(fresh, [])
    stored = rows(fresh.database.url("writer"), "SELECT work_key FROM generated_audio")
    assert len(stored) == min((written - 1) // BATCH * BATCH, len(TEXTS)) or written > len(TEXTS)
    assert start(fresh, llm).end() == 0
    assert [run["attempts"] for run in runs(fresh)] == [2]
    check_left_behind(fresh, undisturbed)


def test_a_second_run_asks_no_model_and_reads_and_writes_nothing_but_its_run(fresh: World, llm: str) -> None:
    with opened(settings(fresh, llm)) as runtime:
        first = speak(runtime)
        assert calls(runtime.audio_llm)["generate"]
        before, objects = tables(fresh.database.url("writer")), fresh.objects()
        calls(runtime.audio_llm).clear()
        runtime.codec.calls.clear()
        with recorded() as requests:
            second = speak(runtime)
        # it only looks whether its files are still there
        assert {request.method for request in requests} <= {"HEAD"}
        assert not runtime.codec.calls
        assert not calls(runtime.audio_llm)
    after = tables(fresh.database.url("writer"))
    assert second.run.manifest == first.run.manifest
    assert len(after.pop("runs")) == len(before.pop("runs")) + 1
    assert (after, fresh.objects()) == (before, objects)


def test_audio_and_files_that_were_tampered_with_are_found(fresh: World, llm: str) -> None:
    with opened(settings(fresh, llm)) as runtime:
        done = speak(runtime)
        checks, _ = verify_run(runtime, done.run.id, sample=50)
        assert [(check.name, check.passed) for check in checks] == [
            ("models", True),
            ("audio", True),
            ("files", True),
        ]
        _, _, one = done.record.with_audio[0]
        fresh.results.put(one.uri.removeprefix(f"{fresh.results.uri}/"), b"other")
        change = (
            f"UPDATE generated_audio SET semantic = '{{1, 1}}' WHERE work_key = '\\x{one.work_key.hex()}'"
        )
        as_administrator(fresh, change)
        checks, _ = verify_run(runtime, done.run.id, sample=50)
    found = {check.name: check.finding for check in checks if not check.passed}
    assert found.keys() == {"audio", "files"}
    assert found["audio"] == f"1 of {len(TEXTS)} differ: {one.work_key.hex()[:12]}"
    assert one.work_key.hex() in found["files"]


def test_another_llm_is_found_not_to_be_the_one_of_the_run(fresh: World, llm: str, tmp_path: Path) -> None:
    other = str(write_llama(tmp_path / "other", context=2048))
    with opened(settings(fresh, llm)) as runtime:
        done = speak(runtime)
    with opened(settings(fresh, other)) as runtime:
        [models, files] = verify_run(runtime, done.run.id, sample=5)[0]
    assert (models.passed, files.passed) == (False, True)
    assert "WORDWAVE_GENERATION_LLM" in models.remedy


def as_administrator(world: World, statement: str) -> None:
    """Changes what the writer does not change."""
    url = world.database.server.admin_url(world.database.name)
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text(statement))
