"""What is open of the wall around analysts is named, and what they leave running is ended."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.analysts import end_overdue, open_gaps
from db.engine import make_engine, session_scope
from tests.fixtures_postgres import Database, make_database

GAPS = {
    "GRANT CONNECT ON DATABASE template1 TO PUBLIC": "connect to database template1",
    "ALTER ROLE wordwave_analyst CONNECTION LIMIT -1": "no CONNECTION LIMIT",
    "ALTER ROLE wordwave_analyst RESET temp_file_limit": "temp_file_limit is not set",
    "REVOKE wordwave_analyst FROM wordwave_owner": "nobody can end their statements",
}
GAPS_INSIDE = {
    "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint), lo_create(oid) TO PUBLIC": "lo_create, pg_adv",
    "GRANT TEMPORARY ON DATABASE {name} TO PUBLIC": "temporary tables here",
}


@pytest.fixture
def writer(database: Database) -> Iterator[Session]:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        yield session
    engine.dispose()


def test_nothing_is_open_after_the_bootstrap(writer: Session) -> None:
    assert open_gaps(writer) == []


@pytest.mark.parametrize("statement", [*GAPS, *GAPS_INSIDE])
def test_each_gap_is_named_and_closed_again(database: Database, writer: Session, statement: str) -> None:
    admin = create_engine(
        database.server.admin_url(database.name), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.exec_driver_sql(statement.format(name=database.name))
    [gap] = open_gaps(writer)
    assert (GAPS | GAPS_INSIDE)[statement] in gap
    make_database(database.server, database.name)
    assert open_gaps(writer) == []


def test_an_analyst_is_ended_by_the_age_of_its_transaction_whatever_it_set(
    database: Database, writer: Session
) -> None:
    engine = create_engine(database.url("analyst"), poolclass=NullPool)
    with engine.connect() as idle, engine.connect() as between:
        between.execute(text("SELECT 1"))
        between.rollback()
        for timeout in ("statement_timeout", "idle_in_transaction_session_timeout"):
            idle.execute(text(f"SET {timeout} = 0"))
        assert end_overdue(writer, timedelta(minutes=10)) == []
        [ended] = end_overdue(writer, timedelta(0))
        assert ended.state == "idle in transaction"
        with pytest.raises(DBAPIError):
            idle.execute(text("SELECT 1"))
        idle.invalidate()
        between.execute(text("SELECT 1"))


def test_nobody_else_is_ended(database: Database, writer: Session) -> None:
    urls = [database.url("writer"), database.url("owner"), database.server.admin_url(database.name)]
    connections = [create_engine(url, poolclass=NullPool).connect() for url in urls]
    for connection in connections:
        connection.execute(text("SELECT 1"))
    assert end_overdue(writer, timedelta(0)) == []
    for connection in connections:
        connection.execute(text("SELECT 1"))
        connection.close()
