"""The Prefect server as a child process: its settings, start and end."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated

import click
from pydantic import AfterValidator, Field, SecretStr
from sqlalchemy import make_url

from flows.flow_runs.own_server import HOST, api_url, own_origins, prefect_home, read_password
from flows.pipeline.configuration.options import Rule
from flows.pipeline.configuration.settings import Settings
from flows.server.automations import HEARTBEAT_SECONDS
from flows.server.interruption import end_child

START_SECONDS = 180
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Authorization", "Content-Type", "Prefect-Csrf-Token", "Prefect-Csrf-Client", "X-Prefect-UI")
DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
_PR_SET_PDEATHSIG = 1
_BLOCK = Rule(r"[a-z0-9-]+/[a-z0-9-]+", "write TYPE/NAME of a Prefect block, such as slack-webhook/operators")


class ServerSettings(Settings):
    """Settings of a machine that also runs a Prefect server."""

    prefect_database_url: SecretStr | None = Field(
        None, description="Postgres of the Prefect server, with pg_trgm; unset: SQLite at home"
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port of /metrics, on this machine alone; unset: no metrics"
    )
    explore_port: int | None = Field(
        None, ge=0, le=65535, description="port of the pages to listen; unset: after the UI's; 0: no pages"
    )
    notification_block: Annotated[str, AfterValidator(_BLOCK.check)] | None = Field(
        None,
        description="Prefect block that receives alerts: TYPE/NAME, such as slack-webhook/operators",
    )


def prefect_environment(settings: Settings, port: int) -> dict[str, str]:
    """Return the environment of server and flows: files stay in our home, and nothing is sent out."""
    return {
        "PREFECT_HOME": str(prefect_home(settings.home)),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_API_AUTH_STRING": read_password(settings.home),
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # a server that starts again knows who holds the nightly's one slot
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    }


def server_environment(settings: Settings, port: int) -> dict[str, str]:
    """Return the environment of the server alone: the address it listens on, and the origins it answers."""
    return {
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": api_url(port),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_API_AUTH_STRING": read_password(settings.home),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(own_origins(port)),
        "PREFECT_SERVER_CORS_ALLOWED_METHODS": ",".join(METHODS),
        "PREFECT_SERVER_CORS_ALLOWED_HEADERS": ",".join(HEADERS),
    }


def database_environment(settings: ServerSettings) -> dict[str, str]:
    """Return the database of the server, for no other process, since it contains a password."""
    if settings.prefect_database_url is None:
        return {}  # Prefect's own variable, else SQLite in PREFECT_HOME
    url = make_url(settings.prefect_database_url.get_secret_value()).set(drivername="postgresql+asyncpg")
    return {DATABASE: url.render_as_string(hide_password=False)}


def prefect_server(environment: Mapping[str, str]) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run a Prefect server as a child process that ends with the block or with its parent."""
    return child_server("flows.server.api_server", environment=environment)


@contextmanager
def child_server(
    module: str, *arguments: str, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module as a child process that ends with the block or with its parent."""
    server = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
        start_new_session=True,  # Ctrl-C is ours: the flows end first
        preexec_fn=_end_with_parent,
    )
    try:
        yield server
    finally:
        end_child(server.pid)
        server.poll()  # it was reaped by its id, which the object has to learn


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server answers. Raises click.ClickException with the reason if it does not."""
    # a proxy of the environment is for other machines
    loopback = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline, trouble = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise click.ClickException(
                f"the Prefect server ended with status {server.returncode}: is port {port} taken?"
            )
        try:
            with loopback.open(f"{api_url(port)}/health", timeout=5):
                return
        except OSError as error:  # URLError and HTTPError are kinds of it
            trouble = str(error)
            click.echo(".", nl=False, err=True)
            time.sleep(0.5)
    raise click.ClickException(f"the Prefect server did not answer within {START_SECONDS} s: {trouble}")
