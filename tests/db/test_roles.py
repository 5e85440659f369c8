"""What each role can do: the wall between analysts and tables, tested through their own connections."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from db.base import Base
from db.bootstrap import BOOTSTRAP_SQL, ROLES, Role, bootstrap, role_name
from db.embedded import EmbeddedServer
from db.postgres_host import Host
from tests.fixtures_postgres import Database, migrated_database

TABLES = sorted(Base.metadata.tables)
FROZEN = {
    "contents",
    "codecs",
    "codebook_words",
    "llms",
    "token_sequences",
    "pooled_latents",
    "demonstration_sets",
    "demonstrations",
    "exports",
}


@pytest.fixture(scope="module")
def database(postgres: EmbeddedServer, migrated_template: str) -> Iterator[Database]:
    """One for all: what these tests try is refused, or changes nothing that another of them sees."""
    with migrated_database(postgres, migrated_template) as database:
        yield database


def _run(database: Database, role: Role, *statements: str) -> None:
    with create_engine(database.url(role), poolclass=NullPool).connect() as connection:
        # The role's defaults are no wall: a session may change them.
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.commit()
        for statement in statements:
            connection.execute(text(statement))


def _refused(database: Database, role: Role, statement: str) -> bool:
    with pytest.raises(ProgrammingError) as caught:
        _run(database, role, statement)
    return caught.value.orig.pgcode in {"42501", "3F000"}  # type: ignore[union-attr]


def test_an_analyst_reads_every_view(database: Database) -> None:
    views = ("clips", "tokens", "words", "labels", "answers", "generated", "quarantine")
    _run(database, "analyst", *(f"SELECT * FROM {view}" for view in views))


def test_an_analyst_reads_no_table(database: Database) -> None:
    for table in [*TABLES, "alembic_version"]:
        assert _refused(database, "analyst", f"SELECT * FROM public.{table}"), table


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO public.llms (fingerprint, name) VALUES ('a', 'b')",
        "INSERT INTO analytics.clips (uri) VALUES ('a')",
        "UPDATE analytics.labels SET label = 'a'",
        "DELETE FROM analytics.quarantine",
        "CREATE TABLE public.mine (id integer)",
        "CREATE TABLE analytics.mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "CREATE VIEW analytics.mine AS SELECT 1",
        "CREATE FUNCTION analytics.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "SET ROLE wordwave_owner",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_an_analyst_changes_and_makes_nothing(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match=r"denied|must be|cannot (insert|update|delete)"):
        _run(database, "analyst", statement)


def test_an_analyst_may_connect_to_the_database_and_no_more(database: Database) -> None:
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        privileges = text("SELECT has_database_privilege(:name, 'CREATE, TEMPORARY')")
        assert connection.scalar(privileges, {"name": database.name}) is False


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (id integer)",
        "CREATE TEMPORARY TABLE mine (id integer)",
        "CREATE SCHEMA mine",
        "ALTER TABLE clips ADD COLUMN mine integer",
        "DROP TABLE clips",
        "TRUNCATE clips",
        "CREATE INDEX mine ON clips (uri)",
        "DROP VIEW analytics.clips",
        "UPDATE alembic_version SET version_num = 'mine'",
    ],
)
def test_the_writer_changes_no_definition(database: Database, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"denied|must be owner|no privileges"):
        _run(database, "writer", statement)


def test_the_writer_works_on_every_table_and_deletes_from_none(database: Database) -> None:
    """Also for tables to come: a migration that forgets its grants fails here."""
    with create_engine(database.url("writer"), poolclass=NullPool).connect() as connection:
        for table in TABLES:
            privileges = {
                verb: connection.scalar(
                    text("SELECT has_table_privilege(:table, :verb)"), {"table": table, "verb": verb}
                )
                for verb in ("SELECT", "INSERT", "UPDATE", "DELETE")
            }
            wanted = {"SELECT": True, "INSERT": True, "UPDATE": table not in FROZEN, "DELETE": False}
            assert privileges == wanted, table


def test_bootstrap_runs_again_and_in_psql_alike(postgres: EmbeddedServer, database: Database) -> None:
    passwords: dict[Role, str] = {role: f"it's {role}; --" for role in ROLES}
    original: dict[Role, str] = {role: postgres.passwords[role_name(role)] for role in ROLES}
    try:
        bootstrap(postgres.admin_url(), database.name, passwords)
        _connect(postgres, database, passwords)
        _run_psql(postgres, database, {role: password + "2" for role, password in passwords.items()})
        _connect(postgres, database, {role: password + "2" for role, password in passwords.items()})
    finally:
        bootstrap(postgres.admin_url(), database.name, original)
    _run(database, "writer", "SELECT 1")


def _connect(postgres: EmbeddedServer, database: Database, passwords: dict[Role, str]) -> None:
    changed = EmbeddedServer(
        postgres.home,
        postgres.socket_folder,
        {role_name(role): password for role, password in passwords.items()},
    )
    for role in ROLES:
        _run(Database(changed, database.name), role, "SELECT 1")


def _run_psql(postgres: EmbeddedServer, database: Database, passwords: dict[Role, str]) -> None:
    psql = Host.of(postgres.home).binaries / "psql"
    variables = [f"--set={role}_password={password}" for role, password in passwords.items()]
    connection = ["-h", str(postgres.socket_folder), "-U", "postgres", "-d", database.name]
    subprocess.run(
        [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *connection, *variables, "-f", str(BOOTSTRAP_SQL)],
        env={"PGPASSWORD": postgres.passwords["postgres"]},
        check=True,
        cwd=Path("/"),
    )
