"""`wordwave up`: embedded Postgres, a Prefect server with its UI, and every flow served, until Ctrl-C."""

import asyncio
import os
import shlex
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from flows.automations import set_up
from flows.database import reader_url, writer_url
from flows.deployments import Night, served
from flows.interruption import exit_when_interrupted
from flows.own_server import HOST, announced, origin, password_file
from flows.server import (
    ServerSettings,
    database_environment,
    prefect_environment,
    prefect_server,
    server_environment,
    wait_until_healthy,
)
from flows.watchdog import watchdog

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment


def run_up(port: int, night: Night | None) -> None:
    """Starts everything, prints the UI's address and serves the flows until the process is interrupted."""
    settings = ServerSettings()
    database = writer_url(settings)
    # Prefect reads its settings when it is imported
    os.environ |= prefect_environment(settings, port)
    deployments = served(night)
    environment = server_environment(settings, port) | database_environment(settings)
    with (
        prefect_server(environment) as server,
        announced(settings.home, port),
        watchdog(database),
        _metrics(settings),
    ):
        exit_when_interrupted(server)
        wait_until_healthy(server, port)
        _serve(deployments, settings, port)


def _metrics(settings: ServerSettings) -> AbstractContextManager[object]:
    from flows.exporter import exporter

    return exporter(reader_url(settings), settings.metrics_port) if settings.metrics_port else nullcontext()


def _serve(deployments: "list[RunnerDeployment]", settings: ServerSettings, port: int) -> None:
    from flows.runner import InterruptibleRunner

    # a night that falls due while nobody serves is late, and runs when somebody serves again
    runner = InterruptibleRunner(name="wordwave", pause_on_shutdown=False)
    for deployment in deployments:
        runner.add_deployment(deployment)
    click.echo(f"Alerts       {set_up(settings.notification_block)}")
    click.echo(f"Readable     {', '.join(settings.read_roots) or 'nothing yet: set WORDWAVE_READ_ROOTS'}")
    if settings.metrics_port:
        click.echo(f"Metrics      {origin(HOST, settings.metrics_port)}/metrics")
    click.echo(f"Password     the UI asks for it once: cat {shlex.quote(str(password_file(settings.home)))}")
    click.echo(f"Ready        {len(deployments)} flows at {origin(HOST, port)}")
    click.echo("Ctrl-C ends the server and the flows; wordwave down ends Postgres")
    asyncio.run(runner.serve())
