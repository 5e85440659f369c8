"""A clip that cannot be read costs one row and is tried again; where none can be, it is the run's trouble."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.runs import RunClaim
from flows.pipeline.clips.ingest import ingest
from flows.pipeline.clips.tokenize_clips import batches_to_tokenize, tokenize_batch
from flows.pipeline.runs import outage
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import (
    CredentialsRejected,
    DamagedTransfer,
    Fetched,
    NothingRead,
    Storage,
    StorageDenied,
    canonical,
)
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import rows, tone, write_clip


@dataclass
class Denying:
    """A storage that fails to give some clips, so many times."""

    storage: Storage
    names: Collection[str]
    error: Exception
    times: int = 1000

    def read(self, uri: str, version_token: str, size: int | None = None) -> AbstractContextManager[Fetched]:
        if Path(uri).name in self.names and self.times:
            self.times -= 1
            raise self.error
        return self.storage.read(uri, version_token, size)


def tokenize(
    runtime: Runtime, folder: Path, run: RunClaim, denied: Collection[str], error: Exception | None = None
) -> Counts:
    place, counts = canonical(str(folder)), Counts()
    ingest(runtime, place)
    storage = Denying(runtime.storage(place), denied, error or StorageDenied("no"))
    for batch in batches_to_tokenize(runtime, place, runtime.settings.batch_size):
        counts += tokenize_batch(runtime, storage, batch, run)
    return counts


def let_time_pass(database: Database) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(database.url("owner"))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE quarantine SET last_seen = last_seen - interval '7 hours'")
    engine.dispose()


def quarantined(runtime: Runtime) -> list[tuple[object, ...]]:
    return rows(
        runtime.engine, "SELECT reason, attempts, resolved_at IS NOT NULL FROM quarantine ORDER BY id"
    )


def test_a_denied_clip_is_one_row_tried_again_later_and_resolved_when_read(
    runtime: Runtime, folder: Path, run_id: RunClaim, database: Database
) -> None:
    write_clip(folder / "a.wav", tone(440))
    write_clip(folder / "b.wav", tone(550))
    assert tokenize(runtime, folder, run_id, ["b.wav"]) == {
        "tokenized": 1,
        "quarantined": 1,
        "quarantined:denied": 1,
    }
    assert tokenize(runtime, folder, run_id, ["b.wav"]) == {}
    let_time_pass(database)
    assert tokenize(runtime, folder, run_id, ["b.wav"])["quarantined:denied"] == 1  # alone in its batch
    assert quarantined(runtime) == [("denied", 2, False)]
    let_time_pass(database)
    assert tokenize(runtime, folder, run_id, []) == {"tokenized": 1}
    assert quarantined(runtime) == [("denied", 2, True)]
    assert tokenize(runtime, folder, run_id, []) == {}


def test_where_no_clip_may_be_read_the_run_fails_and_no_clip_is_set_aside(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440))
    with pytest.raises(StorageDenied):
        tokenize(runtime, folder, run_id, ["a.wav"])
    tokenize(runtime, folder, run_id, [])
    write_clip(folder / "b.wav", tone(550))
    with pytest.raises(StorageDenied):
        tokenize(runtime, folder, run_id, ["a.wav", "b.wav"])
    assert quarantined(runtime) == []


def test_refused_credentials_are_the_runs_trouble_though_others_were_read(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "a.wav", tone(440))
    write_clip(folder / "b.wav", tone(550))
    with pytest.raises(CredentialsRejected):
        tokenize(runtime, folder, run_id, ["b.wav"], CredentialsRejected("who?"))
    assert quarantined(runtime) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError("120 s"), "timeout"), (DamagedTransfer("other bytes than listed"), "transfer")],
)
def test_a_clip_that_never_arrives_is_one_row_and_the_clips_beside_it_are_done(
    runtime: Runtime,
    folder: Path,
    run_id: RunClaim,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    monkeypatch.setattr(outage, "PAUSES_SECONDS", (0.0, 0.0))
    write_clip(folder / "a.wav", tone(440))
    with pytest.raises(NothingRead, match=str(error)):
        tokenize(runtime, folder, run_id, ["a.wav"], error)
    assert quarantined(runtime) == []
    write_clip(folder / "b.wav", tone(550))
    counts = tokenize(runtime, folder, run_id, ["b.wav"], error)
    assert counts == {"tokenized": 1, "quarantined": 1, f"quarantined:{reason}": 1}
    assert quarantined(runtime) == [(reason, 1, False)]


def test_a_clip_that_arrives_at_the_third_try_is_nobodys_trouble(
    runtime: Runtime, folder: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "PAUSES_SECONDS", (0.0, 0.0))
    write_clip(folder / "a.wav", tone(440))
    place = canonical(str(folder))
    ingest(runtime, place)
    storage = Denying(runtime.storage(place), ["a.wav"], DamagedTransfer("half"), times=2)
    [batch] = batches_to_tokenize(runtime, place, runtime.settings.batch_size)
    assert tokenize_batch(runtime, storage, batch, run_id) == {"tokenized": 1}
