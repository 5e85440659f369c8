"""What a run wrote is computed and read again: equal where nothing happened, named where something did."""

from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import NullPool, create_engine, text

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.verify import verify_run
from flows.pipeline.runs.check import Check, ChecksFailed, require
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import tables
from tests.e2e.world import World, import_into, night, opened, tone

CLIPS = {"a.wav": tone(210), "b.wav": tone(2900), "c.wav": tone(190)}


@pytest.fixture
def settings(world: World) -> Settings:
    return world.settings


@pytest.fixture
def runtime(world: World, settings: Settings) -> Iterator[Runtime]:
    """A process in which one night was worked through."""
    for name, data in CLIPS.items():
        world.put(name, data)
    clips, labels = {"low.wav": tone(200), "high.wav": tone(3000)}, {"low.wav": "low", "high.wav": "high"}
    with opened(settings) as runtime:
        import_into(runtime, world.put_library(clips, labels))
        yield runtime


@pytest.fixture
def labeled(world: World, runtime: Runtime) -> UUID:
    return night(runtime, world.place).run.id


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


def as_administrator(world: World, statement: str) -> None:
    """Changes what the writer may not change."""
    url = world.database.server.admin_url(world.database.name)
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_a_run_left_alone_is_verified_and_nothing_changes(
    world: World, runtime: Runtime, labeled: UUID
) -> None:
    before, objects = tables(world.database.url("writer")), world.objects()
    checks, run = verify_run(runtime, labeled, sample=50)
    assert [check.name for check in checks] == ["models", "codes", "answers", "files"]
    assert failed(checks) == []
    assert [check.finding.partition(" ")[0] for check in checks[1:]] == ["3", "3", "3"]
    assert run.counts == {"verify.passed": 4}
    after = tables(world.database.url("writer"))
    assert after.pop("runs") != before.pop("runs")
    assert (after, world.objects()) == (before, objects)


def test_a_newer_version_of_the_library_does_not_confuse_it(
    world: World, runtime: Runtime, labeled: UUID
) -> None:
    other = {"low.wav": tone(3000), "high.wav": tone(200)}
    import_into(runtime, world.put_library(other, {"low.wav": "low", "high.wav": "high"}))
    assert failed(verify_run(runtime, labeled, sample=50)[0]) == []


def test_codes_answers_and_files_that_were_tampered_with_are_found(
    world: World, runtime: Runtime, labeled: UUID
) -> None:
    [lines] = [key for key in world.objects() if key.endswith(".jsonl")]
    world.results.put(lines, b"{}\n")
    as_administrator(
        world, f"UPDATE token_sequences SET acoustic2[1] = (acoustic2[1] + 1) % 9 WHERE run_id = '{labeled}'"
    )
    as_administrator(
        world, "UPDATE predictions SET probabilities = '{\"low\": 0.1, \"high\": 0.9}' WHERE label = 'low'"
    )
    checks, _ = verify_run(runtime, labeled, sample=50)
    assert failed(checks) == ["codes", "answers", "files"]
    found = {check.name: check.finding for check in checks}
    assert found["codes"].startswith("3 of 3 differ: s3://")
    assert " of 3 differ: " in found["answers"]
    assert found["files"] == f"1 of 3 are changed: {world.results.uri}/{lines}"
    remedy = "run nightly-labeling again with the same parameters"
    with pytest.raises(ChecksFailed, match=rf"files: 1 of 3 are changed.* -> .*{remedy}"):
        require(checks)


def test_the_next_night_writes_again_what_was_lost_and_changed(
    world: World, runtime: Runtime, labeled: UUID
) -> None:
    before = {key: data for key, data in world.objects().items() if key.startswith("runs/")}
    [lines] = [key for key in before if key.endswith(".jsonl")]
    for key in before:
        world.results.client.delete_object(Bucket=world.results.bucket, Key=key)
    world.results.put(lines, b"{}\n")
    checks, _ = verify_run(runtime, labeled, sample=50)
    [files] = [check for check in checks if not check.passed]
    missing, changed = files.finding.split("; ")
    assert missing.startswith("2 of 3 are missing: ")
    assert changed == f"1 of 3 are changed: {world.results.uri}/{lines}"
    again = night(runtime, world.place).run
    assert again.counts["export.rows"] == len(CLIPS)
    assert failed(verify_run(runtime, labeled, sample=50)[0]) == []
    assert before.items() <= world.objects().items()


def test_other_models_than_the_run_used_are_named_and_not_compared(
    world: World, runtime: Runtime, labeled: UUID
) -> None:
    as_administrator(world, "UPDATE codecs SET fingerprint = 'another'")
    checks, _ = verify_run(runtime, labeled, sample=50)
    assert failed(checks) == ["models"]
    assert [check.name for check in checks] == ["models", "files"]
    assert "the run used codec another, mini-codec is " in checks[0].finding


def test_a_run_that_wrote_nothing_cannot_be_verified(world: World, runtime: Runtime, labeled: UUID) -> None:
    again = night(runtime, world.place).run.id
    with pytest.raises(ValueError, match=r"\(nightly-labeling\) wrote no tokens, answers, events or files"):
        verify_run(runtime, again, sample=50)
