"""An embedded Postgres for laptops, demos and tests, run from the binaries of a wheel.

`start` returns the one server of a home folder: processes that start it at once get the same one, and it
outlives them all until `stop`. This relies on two file locks, which the kernel frees when their holders are
killed: `start.lock` is held while a process starts or stops the server, `alive.lock` is inherited by the
server and each of its backends. The server listens on a Unix socket only, in a private folder, with a
password for each role.
"""

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

from sqlalchemy import URL, NullPool, create_engine
from sqlalchemy.exc import OperationalError

from db.bootstrap import BOOTSTRAP_SQL, ROLES, Role, bootstrap, role_name
from db.embedded.host import SOCKET_NAME, Host
from db.engine import CONNECT_TIMEOUT_SECONDS, DRIVER
from db.private import private_folder

DATABASE = "wordwave"
ADMINISTRATOR = "postgres"
START_SECONDS = 60


class EmbeddedServerError(RuntimeError):
    """The embedded Postgres cannot be started or stopped."""


@dataclass(frozen=True)
class EmbeddedServer:
    """A running server: its socket and the passwords of its roles."""

    home: Path
    socket_folder: Path
    passwords: Mapping[str, str] = field(repr=False)

    def url(self, role: Role = "writer", database: str = DATABASE) -> str:
        """Return the address for a role: owner migrates, writer works, analyst reads the views."""
        return self._url(role_name(role), database)

    def admin_url(self, database: str = ADMINISTRATOR) -> str:
        """Return the address of the administrator, who makes roles and databases."""
        return self._url(ADMINISTRATOR, database)

    def _url(self, user: str, database: str) -> str:
        url = URL.create(
            DRIVER, user, self.passwords[user], database=database, query={"host": str(self.socket_folder)}
        )
        return url.render_as_string(hide_password=False)


def start(home: Path) -> EmbeddedServer:
    """Return the server of this home folder, made and started as needed, with its roles and its database.

    Raises EmbeddedServerError with the end of the server's log when it does not start.
    """
    home = private_folder(home.absolute())
    with _locked(home / "start.lock") as lock:
        host = Host.of(home)
        server = EmbeddedServer(home, host.socket_folder(), _passwords(host))
        if not host.data.exists():
            _initialize(host, server.passwords[ADMINISTRATOR], lock)
        _bring_up(host, server)
        _bootstrap(host, server)
    return server


def stop(home: Path) -> bool:
    """Stop the server of this home folder; return False when none was running."""
    home = home.absolute()
    if not (home / "postgres").exists():
        return False
    with _locked(home / "start.lock"):
        host = Host.of(home)
        with host.alive_lock.open("w") as alive:
            if _try_lock(alive):
                return False
        stopped = host.run("pg_ctl", "stop", "-D", host.data, "-m", "fast", "-w", "-t", START_SECONDS)
        if stopped.returncode:
            raise EmbeddedServerError(f"Postgres in {host.data} does not stop: {stopped.stderr.strip()}")
    return True


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _passwords(host: Host) -> dict[str, str]:
    """Return one password per role, made at the first start and kept in a file that only its owner can
    read.
    """
    kept = host.folder / "passwords.json"
    if not kept.exists():
        users = [ADMINISTRATOR, *(role_name(role) for role in ROLES)]
        aside = kept.with_suffix(".new")
        _write_private(aside, json.dumps({user: secrets.token_urlsafe(24) for user in users}))
        aside.rename(kept)
    passwords: dict[str, str] = json.loads(kept.read_text())
    return passwords


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _initialize(host: Host, password: str, lock: IO[str]) -> None:
    """Make the data folder under another name and move it into place, so that it is never incomplete.

    initdb inherits the start lock: if this process dies, the next one waits until initdb is done too.
    """
    fresh = host.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    host.private_folder(fresh)
    password_file = host.folder / "initdb-password"
    _write_private(password_file, password)
    host.hand_over(password_file)
    options = ["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8"]
    options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    options += ["--set=listen_addresses=", "--set=unix_socket_permissions=0700"]
    options += ["--set=timezone=UTC", "--set=log_timezone=UTC"]
    made = host.run(
        "initdb", "-D", fresh, "-U", ADMINISTRATOR, f"--pwfile={password_file}", *options, keep_open=lock
    )
    password_file.unlink()
    if made.returncode:
        raise EmbeddedServerError(f"initdb failed in {host.folder}: {made.stderr.strip()}")
    fresh.rename(host.data)


def _bring_up(host: Host, server: EmbeddedServer) -> None:
    """Launch the server unless it answers, and wait until it does."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(server):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(f"Postgres is silent after {START_SECONDS} s:\n{_end_of_log(host)}")
        _launch(host, server.socket_folder)
        time.sleep(0.02)


def _answers(server: EmbeddedServer) -> bool:
    engine = create_engine(
        server.admin_url(), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    )
    try:
        engine.connect().close()
    except OperationalError:
        return False
    return True


def _launch(host: Host, socket_folder: Path) -> None:
    """Start the server unless one of its processes is alive; it inherits the lock that says so."""
    with host.alive_lock.open("w") as alive:
        if not _try_lock(alive):
            return
        # Nobody holds the lock, so the pids in these files are dead or belong to other programs by now.
        for stale in (host.data / "postmaster.pid", socket_folder / f"{SOCKET_NAME}.lock"):
            stale.unlink(missing_ok=True)
        host.log.touch(mode=0o600)
        host.hand_over(host.log)
        where = host.socket_option(socket_folder)
        started = host.run(
            "pg_ctl", "start", "-D", host.data, "-l", host.log, "-o", where, "-w", keep_open=alive
        )
    if started.returncode:
        raise EmbeddedServerError(f"Postgres does not start in {host.data}:\n{_end_of_log(host)}")


def _end_of_log(host: Host) -> str:
    if not host.log.exists():
        return f"no log at {host.log}"
    return "\n".join([*host.log.read_text(errors="replace").splitlines()[-10:], f"(from {host.log})"])


def _bootstrap(host: Host, server: EmbeddedServer) -> None:
    """Run the bootstrap once per version of its SQL; a start killed before the mark is written repeats it."""
    mark = host.folder / "bootstrapped"
    version = sha256(BOOTSTRAP_SQL.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == version:
        return
    bootstrap(server.admin_url(), DATABASE, {role: server.passwords[role_name(role)] for role in ROLES})
    mark.write_text(version)
