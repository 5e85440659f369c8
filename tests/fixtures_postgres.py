"""Real Postgres for tests: one embedded server a session, and cheap databases that are already migrated."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.orm import Session

from db.bootstrap import ROLES, Role, bootstrap, role_name
from db.embedded import server as embedded
from db.embedded.server import EmbeddedServer
from db.engine import make_engine
from migrations.upgrade import upgrade

TEMPLATE = "migrated_template"


@dataclass(frozen=True)
class Database:
    """A migrated database with nothing in it; its roles have the server's passwords."""

    server: EmbeddedServer
    name: str

    def url(self, role: Role) -> str:
        return self.server.url(role, self.name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedServer]:
    """The embedded server, in a folder whose path is short enough for its socket."""
    home = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    home.chmod(0o711)
    try:
        server = embedded.start(home)
        # Nothing here has to outlive the machine, and waiting for the disk is most of a small commit.
        administer(server, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


def administer(server: EmbeddedServer, *statements: str) -> None:
    """Runs statements as the administrator, each in its own transaction."""
    engine = create_engine(server.admin_url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedServer) -> str:
    """The name of a database that was migrated once and is copied from then on."""
    make_database(postgres, TEMPLATE)
    upgrade(postgres.url("owner", TEMPLATE))
    return TEMPLATE


def make_database(server: EmbeddedServer, name: str) -> Database:
    """A database with roles and grants but no tables, or what is missing of that in an existing one."""
    bootstrap(server.admin_url(), name, {role: server.passwords[role_name(role)] for role in ROLES})
    return Database(server, name)


@contextmanager
def migrated_database(server: EmbeddedServer, template: str) -> Iterator[Database]:
    """A database that is copied from the template, and dropped after the block."""
    name = f"test_{uuid4().hex[:12]}"
    administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_database(server, name)
    administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database(postgres: EmbeddedServer, migrated_template: str) -> Iterator[Database]:
    """A fresh migrated database, for tests that commit, connect as several roles or use processes."""
    with migrated_database(postgres, migrated_template) as database:
        yield database


@pytest.fixture
def database_url(database: Database) -> str:
    """The writer's address of a fresh migrated database."""
    return database.url("writer")


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """The writer's engine of a fresh migrated database."""
    engine = make_engine(database.url("writer"))
    yield engine
    engine.dispose()


@pytest.fixture
def analyst(database: Database) -> Iterator[Connection]:
    """An analyst's connection to a fresh migrated database; each statement is a transaction."""
    engine = create_engine(database.url("analyst"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def shared_engine(postgres: EmbeddedServer, migrated_template: str) -> Iterator[Engine]:
    """The writer's engine of the database in which `session` never commits."""
    with migrated_database(postgres, migrated_template) as database:
        engine = make_engine(database.url("writer"))
        yield engine
        engine.dispose()


@pytest.fixture
def session(shared_engine: Engine) -> Iterator[Session]:
    """A writer's session whose every change is rolled back after the test, commits included."""
    with shared_engine.connect() as connection:
        transaction = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            yield session
        transaction.rollback()
