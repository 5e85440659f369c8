"""Clients reach the embedded Postgres through a port of this machine, as analysts and with their password."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner

from db.embedded.server import EmbeddedServer
from flows.cli.queries.command import show_address
from flows.pipeline.configuration.settings import Settings
from flows.server.analysts.address import address_lines, analyst_address
from flows.server.analysts.port import HOST, analyst_port, open_port
from tests.e2e.service import free_port
from tests.fixtures_postgres import Database

COUNT = "SELECT count(*) FROM clips"


def _ask(database: Database, port: int, user: str = "wordwave_analyst", **changes: str) -> object:
    options = {"password": database.server.passwords[user], "dbname": database.name, **changes}
    connection = psycopg2.connect(host=HOST, port=port, user=user, **options)
    try:
        with connection.cursor() as cursor:
            cursor.execute(COUNT)
            return cursor.fetchone()
    finally:
        connection.close()


@pytest.fixture
def port(postgres: EmbeddedServer, tmp_path: Path) -> Iterator[int]:
    number = free_port()
    with analyst_port(tmp_path, postgres.socket_folder, number):
        yield number


def test_an_analyst_asks_through_the_port_with_the_password_alone(database: Database, port: int) -> None:
    assert _ask(database, port) == (0,)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        _ask(database, port, password="wrong")


def test_many_large_answers_arrive_whole(database: Database, port: int) -> None:
    options = {"password": database.server.passwords["wordwave_analyst"], "dbname": database.name}
    clients = [psycopg2.connect(host=HOST, port=port, user="wordwave_analyst", **options) for _ in range(3)]
    for client in clients:
        with client.cursor() as cursor:
            cursor.execute("SELECT repeat(md5(n::text), 100) FROM generate_series(1, 2000) n")
            assert sum(len(text) for (text,) in cursor) == 2000 * 3200
        client.close()


def test_the_port_is_known_while_it_is_open_and_closed_afterwards(
    database: Database, postgres: EmbeddedServer, tmp_path: Path
) -> None:
    number = free_port()
    with analyst_port(tmp_path, postgres.socket_folder, number):
        assert open_port(tmp_path) == number
    assert open_port(tmp_path) is None
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        _ask(database, number)


def test_a_client_that_is_connected_at_the_end_does_not_delay_it(
    database: Database, postgres: EmbeddedServer, tmp_path: Path
) -> None:
    number = free_port()
    with analyst_port(tmp_path, postgres.socket_folder, number):
        password = database.server.passwords["wordwave_analyst"]
        left = psycopg2.connect(
            host=HOST, port=number, user="wordwave_analyst", password=password, dbname=database.name
        )
    with pytest.raises(psycopg2.OperationalError), left.cursor() as cursor:
        cursor.execute(COUNT)
    left.close()


def test_a_client_is_turned_away_while_postgres_does_not_answer(tmp_path: Path) -> None:
    number = free_port()
    with (
        analyst_port(tmp_path, tmp_path / "nothing", number),
        socket.create_connection((HOST, number), timeout=30) as client,
    ):
        assert client.recv(1) == b""


def test_connections_end_where_the_block_ends_by_an_exception(
    database: Database, postgres: EmbeddedServer, tmp_path: Path
) -> None:
    number = free_port()
    options = {"password": database.server.passwords["wordwave_analyst"], "dbname": database.name}
    port = analyst_port(tmp_path, postgres.socket_folder, number)
    port.__enter__()
    left = psycopg2.connect(host=HOST, port=number, user="wordwave_analyst", **options)
    assert not port.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(psycopg2.OperationalError), left.cursor() as cursor:
        cursor.execute(COUNT)
    left.close()


@pytest.mark.parametrize("home", ["my home", "it's", "back\\slash"])
def test_the_keywords_lead_in_from_any_home(database: Database, tmp_path: Path, home: str) -> None:
    settings = Settings(home=tmp_path / home, analyst_database_url=database.url("analyst"))
    address = analyst_address(settings)
    connection = psycopg2.connect(address.keywords)
    assert connection.info.dsn_parameters["passfile"] == str(address.password_file)
    [literal] = [
        line.partition("ATTACH ")[2].partition(" AS ")[0]
        for line in address_lines(address)
        if "ATTACH" in line
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {literal}")  # DuckDB reads it by the same rules
        assert cursor.fetchone() == (address.keywords,)
    connection.close()


def test_the_address_leads_in_by_a_file_that_only_its_owner_reads(database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "my home", analyst_database_url=database.url("analyst"))
    address = analyst_address(settings)
    assert stat.S_IMODE(address.password_file.stat().st_mode) == 0o600
    password = database.server.passwords["wordwave_analyst"]
    assert password not in address.url + address.keywords
    with psycopg2.connect(address.url) as connection, connection.cursor() as cursor:
        cursor.execute(COUNT)
        assert cursor.fetchone() == (0,)
    connection.close()


def test_a_password_with_the_files_own_signs_is_escaped(tmp_path: Path) -> None:
    url = "postgresql://analyst:a%3Ab%5Cc@db.example:6432/wordwave"
    address = analyst_address(Settings(home=tmp_path, analyst_database_url=url))
    assert address.password_file.read_text() == "*:*:wordwave:analyst:a\\:b\\\\c\n"
    assert address.url.startswith("postgresql://analyst@db.example:6432/wordwave?passfile=")


def test_the_command_says_what_to_paste_and_no_password(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDWAVE_HOME", str(tmp_path))
    monkeypatch.setenv("WORDWAVE_ANALYST_DATABASE_URL", database.url("analyst"))
    shown = CliRunner().invoke(show_address)
    assert shown.exit_code == 0, shown.output
    clients = [line.split()[0] for line in shown.output.splitlines() if line[0] != " "]
    assert clients == ["Address", "Password", "psql", "pandas", "DuckDB", "DBeaver"]
    assert "wordwave up --analyst-port" in shown.output
    assert database.server.passwords["wordwave_analyst"] not in shown.output
