"""The watchdog ends what is overdue, says so, and outlives a database that is away."""

from datetime import timedelta
from unittest.mock import MagicMock, Mock

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


def _read_on(said: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Add what is new on stderr, and return all of it."""
    said.append(capsys.readouterr().err)
    return "".join(said)


def test_an_overdue_session_ends_and_is_told(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as analyst:
        analyst.execute(text("SELECT 1"))
        with watchdog.watchdog(database.url("writer")) as thread:
            eventually(lambda: "idle in transaction" in _read_on(said, capsys))
        with pytest.raises(DBAPIError):
            analyst.execute(text("SELECT 1"))
        analyst.invalidate()
    thread.join()


def test_a_database_that_is_away_is_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with watchdog.watchdog("postgresql://wordwave_writer:sesame@127.0.0.1:1/none") as thread:
        eventually(lambda: _read_on(said, capsys).count("are not watched") > 1)
    thread.join()
    assert "sesame" not in "".join(said)


def test_an_error_of_any_kind_is_logged_and_the_next_look_is_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    look = Mock(side_effect=RuntimeError("no more descriptors"))
    monkeypatch.setattr(watchdog, "end_overdue", look)
    monkeypatch.setattr(watchdog, "session_scope", Mock(return_value=MagicMock()))
    with watchdog.watchdog("postgresql://writer@127.0.0.1:1/none") as thread:
        eventually(lambda: look.call_count > 2)
        assert thread.is_alive()
    thread.join()
    assert "analysts were not watched this time" in caplog.text
    assert "no more descriptors" in caplog.text
