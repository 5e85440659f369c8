"""The watchdog ends what is overdue, says so, and outlives a database that is away."""

from datetime import timedelta

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from flows.pipeline.maintenance import analyst_watchdog as watchdog
from tests.eventually import eventually
from tests.fixtures_postgres import Database


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LONGEST", timedelta(0))
    monkeypatch.setattr(watchdog, "EVERY_SECONDS", 0.02)


def test_an_overdue_session_ends_and_is_told(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as analyst:
        analyst.execute(text("SELECT 1"))
        with watchdog.watchdog(database.url("writer")) as thread:
            eventually(lambda: said.append(capsys.readouterr().err) or "idle in transaction" in "".join(said))
        with pytest.raises(DBAPIError):
            analyst.execute(text("SELECT 1"))
        analyst.invalidate()
    thread.join()


def test_a_database_that_is_away_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with watchdog.watchdog("postgresql://wordwave_writer:sesame@127.0.0.1:1/none") as thread:
        eventually(lambda: said.append(capsys.readouterr().err) or "".join(said).count("are not watched") > 1)
    thread.join()
    assert "sesame" not in "".join(said)
