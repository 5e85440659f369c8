"""`wordwave up`: embedded Postgres, a Prefect server with its UI, and every flow served, until Ctrl-C."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError

import click

from flows.database import writer_url
from flows.settings import Settings

HOST = "127.0.0.1"
START_SECONDS = 180
_PR_SET_PDEATHSIG = 1


def run_up(port: int) -> None:
    """Starts everything, prints the UI's address and serves the flows until the process is interrupted."""
    settings = Settings()
    writer_url(settings)
    # Prefect reads its settings when it is imported
    os.environ |= prefect_environment(settings, port)
    with prefect_server(port):
        click.echo(f"Prefect UI   http://{HOST}:{port}")
        click.echo(f"Readable     {', '.join(settings.read_roots) or 'nothing yet: set WORDWAVE_READ_ROOTS'}")
        click.echo("Ctrl-C ends the server and the flows; wordwave down ends Postgres")
        _serve()


def prefect_environment(settings: Settings, port: int) -> dict[str, str]:
    """Prefect's settings: its own database and results stay in our home, and nothing is sent anywhere."""
    return {
        "PREFECT_HOME": str(settings.home / "prefect"),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
    }


@contextmanager
def prefect_server(port: int) -> Iterator[None]:
    """A Prefect server as a child process: ready when the block begins, ended with it or with its parent."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    server = subprocess.Popen(
        command,
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


def _serve() -> None:
    from prefect import serve
    from prefect.deployments.runner import RunnerDeployment
    from prefect.types.entrypoint import EntrypointType

    from flows.backfill_labeling import backfill_labeling
    from flows.build_library import build_library
    from flows.evaluate_task import evaluate_task
    from flows.export_results import export_results
    from flows.ingest_clips import ingest_clips
    from flows.label_clips import label_clips
    from flows.nightly_labeling import nightly_labeling
    from flows.promote_models import promote_models
    from flows.replay_quarantine import replay_quarantine
    from flows.tokenize_clips import tokenize_clips
    from flows.undo_run import undo_run
    from flows.upgrade_models import upgrade_models
    from flows.verify_run import verify_run

    flows = (
        ingest_clips,
        tokenize_clips,
        build_library,
        label_clips,
        export_results,
        nightly_labeling,
        backfill_labeling,
        evaluate_task,
        replay_quarantine,
        undo_run,
        upgrade_models,
        promote_models,
        verify_run,
    )
    deployments = [
        # by module: by file, flows/ would stand first on the path of the run's process
        RunnerDeployment.from_flow(flow, name="local", entrypoint_type=EntrypointType.MODULE_PATH)
        for flow in flows
    ]
    serve(*deployments)
