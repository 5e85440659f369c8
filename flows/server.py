"""A Prefect server as a child process: its settings, its start and its end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.error import URLError

import click
from pydantic import Field, SecretStr
from sqlalchemy import make_url

from flows.automations import HEARTBEAT_SECONDS
from flows.settings import Settings

HOST = "127.0.0.1"
START_SECONDS = 180
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_PR_SET_PDEATHSIG = 1


class ServerSettings(Settings):
    """The settings of a machine that runs a Prefect server too."""

    prefect_database_url: SecretStr | None = Field(
        None, description="Postgres of the Prefect server, with pg_trgm; unset: SQLite at home"
    )
    notification_block: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/[a-z0-9-]+$",
        description="block that is told what went wrong: TYPE/NAME, as slack-webhook/operators",
    )


def prefect_environment(settings: Settings, port: int) -> dict[str, str]:
    """What server and flows share: Prefect's files stay in our home, and nothing is sent anywhere."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # a server that starts again knows who holds the nightly's one slot
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def database_environment(settings: ServerSettings) -> dict[str, str]:
    """Where the server keeps its own rows; for no other process, since it holds a password."""
    if settings.prefect_database_url is None:
        return {}  # Prefect's own variable, else SQLite in PREFECT_HOME
    url = make_url(settings.prefect_database_url.get_secret_value()).set(drivername="postgresql+asyncpg")
    return {DATABASE: url.render_as_string(hide_password=False)}


@contextmanager
def prefect_server(port: int, environment: Mapping[str, str]) -> Iterator[None]:
    """A Prefect server as a child process: ready when the block begins, ended with it or with its parent."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    server = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        start_new_session=True,  # Ctrl-C is ours: the flows end first
        preexec_fn=_end_with_parent,
    )
    try:
        _wait_until_healthy(server, port)
        yield
    finally:
        server.terminate()
        server.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise click.ClickException(
                f"the Prefect server ended with status {server.returncode}: is port {port} taken?"
            )
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/api/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise click.ClickException(f"the Prefect server did not answer within {START_SECONDS} s")
