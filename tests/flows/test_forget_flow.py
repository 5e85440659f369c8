"""What is forgotten is gone from Prefect's own pages and parameters, too."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine

from db.locks import partition_lock
from flows.pipeline.clips.tombstones import WrongForgetKey
from flows.pipeline.maintenance.forgetting.check import NotForgotten
from flows.pipeline.storage.uris import file_uri
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database
from tests.flows.final_state import final_state

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
HOSTILE = "a|b <i>`x`.wav"


def kept_by_prefect() -> str:
    """All artifacts, their newest ones by key, and all flow runs, as JSON."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found: list[Any] = [
            *client.read_artifacts(),
            *client.read_latest_artifacts(),
            *client.read_flow_runs(),
        ]
    return "\n".join(one.model_dump_json() for one in found)


def test_artifacts_and_flow_runs_lose_the_names_of_a_forgotten_clip(
    day: Path, library: str, database: Database
) -> None:
    from flows.nightly import nightly_labeling
    from flows.repair import forget_clips
    from flows.steps import ingest_clips

    (day / HOSTILE).write_bytes(tone(230))
    uri = file_uri(day / HOSTILE)
    nightly_labeling(str(day), library, day="any")
    ingest_clips(uri)
    before = kept_by_prefect()
    assert json.dumps(uri)[1:-1] in before
    assert forget_clips([uri], dry_run=True)["clips"] == 1
    assert rows(database.url("writer"), "SELECT count(*) FROM tombstones") == [{"count": 0}]
    counts = forget_clips([uri])
    assert (counts["clips"], counts["predictions"], counts["contents"]) == (1, 1, 1)
    assert counts["artifacts"] >= 2
    assert counts["flow_runs"] >= 2
    after = kept_by_prefect()
    for name in (uri, HOSTILE, uri.rpartition("/")[2]):
        assert name not in after
        assert json.dumps(name)[1:-1] not in after
    assert "b.wav" in after
    assert nightly_labeling(str(day), library, day="any")["ingest.forgotten"] == 1
    assert uri.rpartition("/")[2] not in kept_by_prefect()
    _let_be_old(day, database)
    with partition_lock(database.url("writer"), "forget-clips all clips"):
        nightly_labeling(str(day), library, day="any")
    assert rows(database.url("writer"), "SELECT FROM clips WHERE uri LIKE '%/b.wav'")
    nightly_labeling(str(day), library, day="any")
    assert file_uri(day / "b.wav") not in kept_by_prefect()  # other places of this server have a b.wav, too
    assert not rows(database.url("writer"), "SELECT FROM clips WHERE uri LIKE '%/b.wav'")
    [run] = rows(database.url("writer"), "SELECT counts FROM runs ORDER BY started_at DESC LIMIT 1")
    assert run["counts"]["forget.contents"] == 1


def _let_be_old(day: Path, database: Database) -> None:
    """Bound the place to thirty days, and let b.wav be gone for longer."""
    from flows.quality import watch_place

    watch_place(str(day), keep_days=30)
    (day / "b.wav").unlink()
    owner = create_engine(database.url("owner"), poolclass=NullPool)
    with owner.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE clips SET missing_since = now() - interval '31 days' WHERE uri LIKE '%%/b.wav'"
        )


def test_a_night_whose_forgetting_fails_makes_up_the_days_before_and_tells(
    day: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import nightly

    def fail(*args: object) -> None:
        raise WrongForgetKey("another key")

    made_up: list[object] = []
    monkeypatch.setattr(nightly, "forget_old", fail)
    monkeypatch.setattr(nightly, "make_up", lambda days, night: made_up.append(days))
    state = final_state(nightly.nightly_labeling, str(day), library, day="any")
    assert (state.is_failed(), len(made_up)) == (True, 1)
    assert "another key" in str(state.message)


def test_what_is_left_after_a_forgetting_fails_the_run_that_has_its_page(
    day: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import repair
    from flows.steps import ingest_clips

    def find(*args: object) -> None:
        raise NotForgotten("1 places still hold a name of it")

    pages: list[str] = []
    monkeypatch.setattr(repair, "require_absence", find)
    monkeypatch.setattr(repair, "publish_page", lambda flow, head, *page: pages.append(head))
    ingest_clips(str(day))
    state = final_state(repair.forget_clips, [file_uri(day / "b.wav")])
    assert (state.is_failed(), pages) == (True, ["Forgotten"])


def test_a_name_that_nobody_listed_fails_in_a_sentence(worker: Path) -> None:
    from flows.repair import forget_clips

    state = final_state(forget_clips, ["s3://bucket/none.wav"])
    assert state.is_failed()
    assert "no listing had" in str(state.message)
