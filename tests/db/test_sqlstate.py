"""Errors of a real Postgres: what can pass is told from what cannot, each with its own remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, NullPool, create_engine, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from db.engine import database_url
from db.sqlstate import MEANINGS, ErrorMeaning, can_pass, meaning
from tests.fixtures_postgres import Database, administer


@contextmanager
def connected(url: str, **options: object) -> Iterator[Connection]:
    engine = create_engine(database_url(url), poolclass=NullPool, **options)
    with engine.connect() as connection:
        yield connection


def raised(url: str, *statements: str) -> DBAPIError:
    """Return the database's error for the last of the statements."""
    try:
        with connected(url) as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        return error
    raise AssertionError(f"{statements[-1:]} went well")


def changed(url: str, **parts: object) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def said(error: DBAPIError) -> ErrorMeaning:
    found = meaning(error)
    assert found
    assert can_pass(error) == found.can_pass
    return found


def test_a_wrong_password_and_a_wrong_name_cannot_pass(database: Database) -> None:
    url = database.url("writer")
    for wrong in (changed(url, password="sesame"), changed(url, username="nobody")):
        assert "WORDWAVE_DATABASE_URL" in said(raised(wrong)).remedy
        assert "user or password" in said(raised(wrong)).finding
    missing = said(raised(changed(url, database="nowhere")))
    assert "no such database" in missing.finding
    assert not missing.can_pass


def test_a_server_that_is_not_there_can_pass(database: Database) -> None:
    nobody = changed("postgresql://writer:sesame@127.0.0.1:1/none")
    assert said(raised(nobody)).can_pass
    gone = changed(database.url("writer"), query={"host": "/nowhere"})
    assert said(raised(gone)).can_pass


def test_a_connection_that_was_cut_can_pass(database: Database) -> None:
    url = database.url("writer")
    cut = raised(url, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert said(cut).can_pass
    with connected(url) as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        administer(database.server, f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(OperationalError) as caught:
            connection.exec_driver_sql("SELECT 1")
    assert said(caught.value).can_pass


def test_too_many_connections_can_pass(database: Database) -> None:
    administer(database.server, f"ALTER DATABASE {database.name} CONNECTION LIMIT 0")
    full = said(raised(database.url("writer")))
    assert "no connection left" in full.finding
    assert full.can_pass


@pytest.mark.parametrize(
    ("statements", "finding", "passes"),
    [
        (["SET TRANSACTION READ ONLY", "DELETE FROM predictions"], "read-only", False),
        (["SET statement_timeout = 10", "SELECT pg_sleep(5)"], "canceled a statement", False),
        (["SELECT * FROM no_such_table"], "schema", False),
        (["SELECT no_such_column FROM runs"], "schema", False),
        (["SELECT no_such_function()"], "schema", False),
        (["CREATE TABLE public.mine (id int)"], "privilege", False),
        (["SELECT convert_from('\\xff', 'UTF8')"], "encoding", False),
        (["SELECT chr(8364)::bytea, convert_to(chr(8364), 'LATIN1')"], "encoding", False),
        (["DO $$ BEGIN RAISE SQLSTATE '53100'; END $$"], "disk is full", False),
        (["DO $$ BEGIN RAISE SQLSTATE '58030'; END $$"], "its own files", False),
        (["DO $$ BEGIN RAISE SQLSTATE '54000'; END $$"], "larger than", False),
        (["DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"], "for another one", True),
        (["DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"], "for another one", True),
        (["DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$"], "for a lock", True),
        (["DO $$ BEGIN RAISE SQLSTATE '53300'; END $$"], "connection left", True),
        (["DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$"], "starting or stopping", True),
        (["DO $$ BEGIN RAISE SQLSTATE '57P04'; END $$"], "no such database", False),
        (["DO $$ BEGIN RAISE SQLSTATE '08006'; END $$"], "does not answer", True),
    ],
)
def test_a_statement_that_fails_is_told_by_its_state(
    database: Database, statements: list[str], finding: str, passes: bool
) -> None:
    found = said(raised(database.url("writer"), *statements))
    assert finding in found.finding
    assert found.can_pass == passes
    assert found.remedy


@pytest.mark.parametrize("statement", ["SELECT 1/0", "SELEKT", "DO $$ BEGIN RAISE 'no space left'; END $$"])
def test_what_only_other_code_would_mend_has_no_remedy(database: Database, statement: str) -> None:
    error = raised(database.url("writer"), statement)
    assert meaning(error) is None
    assert not can_pass(error)


def test_other_errors_cannot_pass() -> None:
    assert not can_pass(ValueError("x"))
    assert meaning(IntegrityError("INSERT", None, Exception("duplicate"))) is None


def test_every_meaning_has_a_remedy() -> None:
    assert all(one.finding and one.remedy for one in MEANINGS.values())
