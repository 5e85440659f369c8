"""`wordwave up`: embedded Postgres, a Prefect server with its UI, and every flow served, until Ctrl-C."""

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from flows.automations import set_up
from flows.database import writer_url
from flows.deployments import Night, served
from flows.server import HOST, ServerSettings, database_environment, prefect_environment, prefect_server
from flows.watchdog import watchdog

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def run_up(port: int, night: Night | None) -> None:
    """Starts everything, prints the UI's address and serves the flows until the process is interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # both end it at any moment; a shell's background jobs would ignore the first
        signal.signal(number, signal.default_int_handler)
    settings = ServerSettings()
    database = writer_url(settings)
    # Prefect reads its settings when it is imported
    os.environ |= prefect_environment(settings, port)
    deployments = served(night)
    with (
        suppress(KeyboardInterrupt),
        prefect_server(port, database_environment(settings)),
        watchdog(database),
    ):
        _serve(deployments, f"http://{HOST}:{port}", settings)


def _serve(deployments: "list[RunnerDeployment]", address: str, settings: ServerSettings) -> None:
    from flows.runner import InterruptibleRunner

    # a night that falls due while nobody serves is late, and runs when somebody serves again
    runner = InterruptibleRunner(name="wordwave", pause_on_shutdown=False)
    for deployment in deployments:
        runner.add_deployment(deployment)
    click.echo(f"Alerts       {set_up(settings.notification_block)}")
    click.echo(f"Readable     {', '.join(settings.read_roots) or 'nothing yet: set WORDWAVE_READ_ROOTS'}")
    click.echo(f"Ready        {len(deployments)} flows at {address}")
    click.echo("Ctrl-C ends the server and the flows; wordwave down ends Postgres")
    asyncio.run(runner.serve())
