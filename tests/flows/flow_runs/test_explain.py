"""Errors that people can mend are one line; bugs keep their traceback."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.errors import AudioRejected
from db.engine import make_engine, session_scope
from flows.flow_runs.explain import explain
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.halving import DeviceFailed
from tests.fixtures_postgres import Database


def test_a_wrong_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDWAVE_DEVICE", "sesame")
    with pytest.raises(ValueError, match="device") as caught:
        Settings()
    assert explain(caught.value) == "WORDWAVE_DEVICE: write auto, cpu, cuda or cuda:N"


def test_a_database_that_is_down_is_said_without_its_password() -> None:
    engine = make_engine("postgresql://writer:sesame@127.0.0.1:1/none")
    with pytest.raises(Exception, match="refused") as caught, session_scope(engine) as session:
        session.execute(text("SELECT 1"))
    message = explain(caught.value)
    assert message
    assert "the database does not answer" in message
    assert "sesame" not in message


def test_a_schema_that_is_missing_names_the_command(database: Database) -> None:
    engine = make_engine(database.url("owner"))
    with pytest.raises(Exception, match="does not exist") as caught, session_scope(engine) as session:
        session.execute(text("SELECT * FROM no_such_table"))
    engine.dispose()
    assert explain(caught.value) == "the database is not at this version's schema: run wordwave migrate"


def test_errors_on_purpose_speak_for_themselves_and_bugs_do_not() -> None:
    assert explain(AudioRejected("silent", "peak 0")) == "silent: peak 0"
    assert explain(KeyError("x")) is None
    assert explain(TypeError("x")) is None


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
            "the database's disk is full: could not extend file; free space there, then run again",
        ),
        (
            "SET TRANSACTION READ ONLY; DELETE FROM predictions",
            "the database is read-only: cannot execute DELETE in a read-only transaction; "
            "let WORDWAVE_DATABASE_URL name the primary server",
        ),
    ],
)
def test_an_error_of_the_database_is_one_line_with_its_own_remedy(
    database: Database, statement: str, message: str
) -> None:
    engine = make_engine(database.url("writer"))
    with pytest.raises(DBAPIError) as caught, session_scope(engine) as session:
        session.execute(text(statement))
    engine.dispose()
    assert explain(caught.value) == message


def test_a_lost_device_is_one_line() -> None:
    assert explain(DeviceFailed("the device failed: run again")) == "the device failed: run again"
