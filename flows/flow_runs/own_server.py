"""The Prefect server of `wordwave up`: its password, its origins, and how clients find it.

The password is in a file of the working folder that only its owner can read. It is never an argument of a
process or in a log. The server's address is kept next to it while the server runs.
"""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from db.private import keep_private, private_folder

HOST = "127.0.0.1"
USER = "wordwave"
HOLD_ATTEMPTS = 5
LOOPBACK = (HOST, "localhost", "::1")


def password_file(home: Path) -> Path:
    """Return the file with the password that the UI asks for once."""
    return prefect_home(home) / "password"


def prefect_home(home: Path) -> Path:
    """Return the folder of Prefect's files."""
    return home / "prefect"


def read_password(home: Path) -> str:
    """Return the password as USER:SECRET. It is drawn on the first call."""
    private_folder(home)
    private_folder(prefect_home(home))
    return keep_private(password_file(home), f"{USER}:{secrets.token_urlsafe(24)}\n").strip()


def api_url(port: int) -> str:
    """Return the address of the API."""
    return f"{origin(HOST, port)}/api"


def own_origins(port: int) -> tuple[str, ...]:
    """Return the origins that the UI is opened at."""
    return origin(HOST, port), origin("localhost", port)


def origin(host: str, port: int) -> str:
    """Return an origin as browsers write it."""
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"


class AlreadyRunning(BlockingIOError):
    """Another `wordwave up` runs on this working folder."""


@contextmanager
def announced(home: Path, port: int) -> Iterator[None]:
    """Lock the working folder, and write the server's address to where `found_by_clients` looks for it.

    Raises AlreadyRunning if another process holds the lock. While it is held, the address is valid.
    """
    private_folder(home)
    private_folder(prefect_home(home))
    with _address_file(home).open("a+") as file:
        if not _hold(file):
            raise AlreadyRunning(_where(home))
        file.truncate(0)
        file.write(f"{api_url(port)}\n{os.getpid()}\n")
        file.flush()
        yield


def _hold(file: IO[str]) -> bool:
    for _ in range(HOLD_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.1)  # a client that looks for the address holds the file for a moment
    return False


def _where(home: Path) -> str:
    address, _, pid = _address_file(home).read_text().strip().partition("\n")
    return (
        f"wordwave up already runs on {home}: process {pid or 'unknown'}, {address.removesuffix('/api')}. "
        "Stop it first, or set WORDWAVE_HOME to another folder"
    )


def check_port(port: int) -> None:
    """Raise OSError if something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(
                f"port {port} of {HOST} is not available ({error.strerror}): choose another --port"
            ) from error


@contextmanager
def found_by_clients(home: Path) -> Iterator[None]:
    """Let Prefect's clients find the running server of this home, unless another one is named.

    Its password goes to its own address and to no other.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    address = _announced_address(home)
    if address is None or PREFECT_API_URL.value() not in (None, address):
        yield
        return
    with temporary_settings({PREFECT_API_URL: address, PREFECT_API_AUTH_STRING: read_password(home)}):
        yield


def _announced_address(home: Path) -> str | None:
    with suppress(FileNotFoundError), _address_file(home).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.readline().strip()
    return None


def _address_file(home: Path) -> Path:
    return prefect_home(home) / "api_url"


def without_proxy() -> dict[str, str]:
    """Return the variables that keep requests to this machine from a proxy, here and in child processes."""
    names = ("NO_PROXY", "no_proxy")
    given = [host for name in names for host in os.environ.get(name, "").split(",") if host]
    hosts = ",".join(dict.fromkeys([*given, *LOOPBACK]))
    return dict.fromkeys(names, hosts)
