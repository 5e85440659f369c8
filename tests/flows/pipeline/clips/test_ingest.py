"""A listing takes every clip of a place, and no audio that was generated unless it is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine

from db.listing import MostClipsLost
from db.runs import RunClaim, RunLost
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.clips.tokenize_clips import batches_to_tokenize, tokenize_batch
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import ObjectVersion, canonical, open_storage
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import new_run, rows, tone, write_clip

FORGET_CTIME = r"UPDATE clips SET version_token = regexp_replace(version_token, ':\d+$', '')"
OPEN_TRANSACTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND state LIKE 'idle in transaction%'"
)


def listed(settings: Settings, storage: Path, place: Path) -> int:
    runtime = Runtime(settings.model_copy(update={"storage_uri": str(storage)}))
    try:
        counts = ingest(runtime, str(place))
        return counts["new"] + counts["known"]
    finally:
        runtime.close()


def test_audio_that_was_generated_is_no_clip_of_the_place_that_holds_it(
    settings: Settings, folder: Path
) -> None:
    write_clip(folder / "one.wav", tone(300))
    write_clip(folder / "generated" / "abc.wav", tone(400))
    assert listed(settings, folder, folder) == 1
    assert listed(settings, folder.parent / "elsewhere", folder) == 2


def test_generated_audio_is_listed_where_it_is_asked_for(settings: Settings, folder: Path) -> None:
    write_clip(folder / "generated" / "abc.wav", tone(400))
    assert listed(settings, folder, folder / "generated") == 1


def test_an_emptied_folder_ends_the_run_before_anything_is_marked_missing(
    runtime: Runtime, folder: Path
) -> None:
    for number in range(8):
        write_clip(folder / f"{number}.wav", tone(300 + number))
    ingest(runtime, str(folder))
    for clip in folder.iterdir():
        clip.unlink()
    with pytest.raises(MostClipsLost, match="8 of 8 known clips"):
        ingest(runtime, str(folder))
    assert rows(runtime.engine, "SELECT count(*) FROM clips WHERE missing_since IS NULL") == [(8,)]
    assert ingest(runtime, str(folder), allow_loss=True)["gone"] == 8


def test_no_transaction_is_open_while_the_storage_lists(
    runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(folder / "one.wav", tone(300))
    seen = []

    def slow(uri: str) -> Iterator[ObjectVersion]:
        for listed in open_storage(str(folder), runtime.settings).list(uri):
            seen.append(rows(runtime.engine, OPEN_TRANSACTIONS))
            yield listed

    class Slow:
        list = staticmethod(slow)

    monkeypatch.setattr(runtime, "storage", lambda _: Slow)
    assert ingest(runtime, str(folder))["new"] == 1
    assert seen == [[(0,)]]


def test_a_path_too_long_for_the_database_is_one_quarantined_clip(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    long = folder.joinpath(*["ü" * 100] * 6, "long.wav")
    long.parent.mkdir(parents=True)
    write_clip(folder / "short.wav", tone(300)).rename(long)
    write_clip(folder / "short.wav", tone(400))
    assert ingest(runtime, str(folder))["new"] == 2
    (batch,) = batches_to_tokenize(runtime, canonical(str(folder)), 10)
    counts = tokenize_batch(runtime, runtime.readable(str(folder)), batch, run_id)
    assert counts == {"tokenized": 1, "quarantined": 1, "quarantined:unsupported": 1}
    assert ingest(runtime, str(folder)) == {"new": 0, "known": 2, "gone": 0}
    assert batches_to_tokenize(runtime, canonical(str(folder)), 10) == []


def test_a_listing_by_a_run_that_was_taken_over_is_not_recorded(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440, seed=1))
    new_run(runtime.engine)
    with pytest.raises(RunLost, match="attempt 2"):
        ingest(runtime, str(folder), run_id)
    assert rows(runtime.engine, "SELECT count(*)::int FROM clips") == [(0,)]


def test_rows_of_a_former_version_are_taken_over_and_read_no_more(
    runtime: Runtime, folder: Path, run_id: RunClaim, database: Database
) -> None:
    write_clip(folder / "a.wav", tone(300))
    place = canonical(str(folder))
    ingest(runtime, place)
    (batch,) = batches_to_tokenize(runtime, place, 10)
    tokenize_batch(runtime, runtime.readable(place), batch, run_id)
    (token,) = rows(runtime.engine, "SELECT version_token FROM clips")
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE clips SET version_token = regexp_replace(version_token, ':\\d+$', '')"
        )
    assert ingest(runtime, place) == {"new": 0, "known": 1, "gone": 0}
    assert rows(runtime.engine, "SELECT version_token FROM clips") == [token]
    assert batches_to_tokenize(runtime, place, 10) == []
