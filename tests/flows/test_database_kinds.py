"""A database that cannot be worked with is named by doctor, and by the first error, with what to do."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import NullPool, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from db.bootstrap import ROLES, bootstrap, role_name
from db.embedded.server import EmbeddedServer
from db.engine import UnfitDatabase, make_engine, unfitness
from flows.flow_runs.explain import explain
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.check import Check
from flows.server.health import examine_service
from migrations.upgrade import upgrade
from tests.eventually import eventually
from tests.fixtures_postgres import Database, administer

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
POOL = """
[databases]
{name} = host={server} dbname={name}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = scram-sha-256
pool_mode = {mode}
ignore_startup_parameters = {ignored}
auth_file = {users}
"""


def database_check(settings: Settings) -> Check:
    return next(check for check in examine_service(settings) if check.name == "database")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture(params=["LATIN1", "SQL_ASCII", "EUC_JP"])
def foreign(request: pytest.FixtureRequest, postgres: EmbeddedServer) -> Iterator[Database]:
    """A database in another encoding."""
    name = f"foreign_{uuid4().hex[:12]}"
    kind = f"ENCODING '{request.param}' LOCALE_PROVIDER libc LOCALE 'C'"
    administer(postgres, f"CREATE DATABASE {name} {kind} TEMPLATE template0")
    bootstrap(postgres.admin_url(), name, {role: postgres.passwords[role_name(role)] for role in ROLES})
    yield Database(postgres, name)
    administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def test_another_encoding_is_refused_at_once(foreign: Database, settings: Settings) -> None:
    with pytest.raises(UnfitDatabase, match="UTF8 is needed: make one by CREATE DATABASE") as caught:
        upgrade(foreign.url("owner"))
    assert explain(caught.value) == str(caught.value)
    with pytest.raises(UnfitDatabase):
        make_engine(foreign.url("writer")).connect()
    found = database_check(settings.model_copy(update={"database_url": SecretStr(foreign.url("writer"))}))
    assert not found.passed
    assert "UTF8 is needed" in found.finding


def test_a_database_that_takes_no_writes_is_named(database: Database, settings: Settings) -> None:
    administer(database.server, f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    found = database_check(settings.model_copy(update={"database_url": SecretStr(database.url("writer"))}))
    assert (found.passed, found.finding) == (False, "the database is read-only for this role")
    assert "primary" in found.remedy
    with (
        create_engine(database.url("writer"), poolclass=NullPool).connect() as connection,
        pytest.raises(DBAPIError) as caught,
    ):
        connection.execute(text("INSERT INTO llms (fingerprint, name) VALUES ('a', 'b')"))
    line = explain(caught.value)
    assert line is not None
    assert line.startswith("the database is read-only")


def _listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


@contextmanager
def pooled(database: Database, mode: str, ignored: str = "options") -> Iterator[str]:
    """The writer's address through a pooler, which runs as the account of the server until the block ends."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    server, url = database.server.socket_folder, make_url(database.url("writer"))
    account = pwd.getpwuid(server.stat().st_uid)
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        settings, users, address = (Path(folder) / name for name in ("pool.ini", "users", ".s.PGSQL.6432"))
        users.write_text(f'"{url.username}" "{url.password}"\n')
        names = {"name": database.name, "server": server, "folder": folder, "users": users}
        settings.write_text(POOL.format(**names, mode=mode, ignored=ignored))
        for path in (Path(folder), settings, users):
            os.chown(path, account.pw_uid, account.pw_gid)
        process = subprocess.Popen(
            [PGBOUNCER, "-q", str(settings)], user=account.pw_uid, group=account.pw_gid
        )
        try:
            assert eventually(lambda: _listens(address))
            yield url.set(port=6432, query={"host": folder}).render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait()


def test_a_pool_of_transactions_is_named(database: Database, settings: Settings, tmp_path: Path) -> None:
    with pooled(database, "transaction") as url:
        found = database_check(settings.model_copy(update={"database_url": SecretStr(url)}))
    assert not found.passed
    assert "a pooler changes the session between transactions" in found.finding
    assert "pool of sessions" in found.remedy


def test_a_pool_of_sessions_works(database: Database, settings: Settings) -> None:
    with pooled(database, "session") as url:
        assert database_check(settings.model_copy(update={"database_url": SecretStr(url)})).passed


def test_a_pooler_that_refuses_our_settings_is_told_from_one_that_is_down(database: Database) -> None:
    with (
        pooled(database, "session", ignored="extra_float_digits") as url,
        pytest.raises(OperationalError) as caught,
    ):
        make_engine(url).connect()
    line = explain(caught.value)
    assert line is not None
    assert line.startswith("a connection pooler refuses the session's settings")
    assert "ignore_startup_parameters=options" in line


def test_nothing_is_wrong_with_a_plain_server(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    assert unfitness(engine) is None
    engine.dispose()
