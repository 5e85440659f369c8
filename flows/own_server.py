"""The Prefect server of `wordwave up`: its password, its origins, and how clients find it.

The password is in a file of the working folder, which its owner alone reads; it never becomes an argument of
a process or a line of a log. The server's address is kept beside it while the server runs.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from db.private import keep_private, private_folder

HOST = "127.0.0.1"
USER = "wordwave"
LOOPBACK = (HOST, "localhost", "::1")


def password_file(home: Path) -> Path:
    """The file with what the UI asks for once."""
    return prefect_home(home) / "password"


def prefect_home(home: Path) -> Path:
    """Where Prefect keeps its files."""
    return home / "prefect"


def read_password(home: Path) -> str:
    """Return the password as USER:SECRET, drawn when it is first asked for."""
    private_folder(home)
    private_folder(prefect_home(home))
    return keep_private(password_file(home), f"{USER}:{secrets.token_urlsafe(24)}\n").strip()


def api_url(port: int) -> str:
    """The address of the API."""
    return f"{origin(HOST, port)}/api"


def own_origins(port: int) -> tuple[str, ...]:
    """The origins that the UI is opened at."""
    return origin(HOST, port), origin("localhost", port)


def origin(host: str, port: int) -> str:
    """An origin as browsers write it."""
    return f"http://{host}" if port == 80 else f"http://{host}:{port}"


@contextmanager
def announced(home: Path, port: int) -> Iterator[None]:
    """Keep the server's address where `found_by_clients` looks; a lock says that it is still true."""
    with _address_file(home).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(api_url(port))
        file.flush()
        yield


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
            return file.read()
    return None


def _address_file(home: Path) -> Path:
    return prefect_home(home) / "api_url"


def without_proxy() -> dict[str, str]:
    """What keeps requests to this machine from a proxy, in this process and its children."""
    names = ("NO_PROXY", "no_proxy")
    given = [host for name in names for host in os.environ.get(name, "").split(",") if host]
    hosts = ",".join(dict.fromkeys([*given, *LOOPBACK]))
    return dict.fromkeys(names, hosts)
