"""`wordwave up`: embedded Postgres, a Prefect server with its UI, and all flows, until Ctrl-C."""

import asyncio
import os
import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import click

from db.embedded.server import start
from db.engine import session_scope
from db.libraries import library_names
from flows.deployments import local_deployments
from flows.flow_runs.explain import explain
from flows.flow_runs.own_server import HOST, announced, check_port, origin, password_file
from flows.pipeline.maintenance.analyst_watchdog import watchdog
from flows.pipeline.runtime.database import reader_url, writer_url
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import is_transient
from flows.server.analysts.port import analyst_port
from flows.server.automations import update_automations
from flows.server.explorer.process import Pages, pages_server, plan_pages
from flows.server.interruption import exit_when_interrupted
from flows.server.nights.place_words import describe_place, differences
from flows.server.nights.places import (
    NightlyPlace,
    create_missing_places,
    deployment_name,
    read_places,
    serve_places,
    share_limit,
)
from flows.server.process import (
    ServerSettings,
    database_environment,
    prefect_environment,
    prefect_server,
    server_environment,
    wait_until_healthy,
)

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.deployments.runner import RunnerDeployment


def run_up(port: int, nights: Sequence[NightlyPlace], port_of_analysts: int | None = None) -> None:
    """Start everything, print the UI's address and serve the flows until the process is interrupted."""
    settings = ServerSettings()
    with announced(settings.home, port):
        check_port(port)
        _check_analyst_port(settings, port_of_analysts)
        pages = plan_pages(settings, port)
        _wait_for("the database")
        database = writer_url(settings)
        # Prefect reads its settings when it is imported
        os.environ |= prefect_environment(settings, port)
        _wait_for("the flows")
        libraries = _library_names(settings)
        deployments = local_deployments(libraries)
        for night in nights:
            _check(settings, night)
        environment = server_environment(settings, port) | database_environment(settings)
        with (
            prefect_server(environment) as server,
            watchdog(database),
            _analyst_port(settings, port_of_analysts),
            _metrics(settings),
            pages_server(pages),
        ):
            exit_when_interrupted(server)
            _wait_for("the Prefect server, which takes half a minute when it is new", nl=False)
            wait_until_healthy(server, port)
            click.echo(err=True)
            if port_of_analysts:
                click.echo(f"Analysts     port {port_of_analysts} of {HOST}: see wordwave analyst-url")
            _serve(deployments, libraries, nights, settings, port, pages)


def _check_analyst_port(settings: ServerSettings, port: int | None) -> None:
    if port is None:
        return
    if settings.database_url is not None:
        raise click.UsageError(
            "--analyst-port leads to the embedded Postgres, and WORDWAVE_DATABASE_URL names another one, "
            "which analysts reach directly"
        )
    check_port(port)


def _analyst_port(settings: ServerSettings, port: int | None) -> AbstractContextManager[None]:
    return analyst_port(settings.home, start(settings.home).socket_folder, port) if port else nullcontext()


def _library_names(settings: ServerSettings) -> list[str]:
    runtime = Runtime(settings)
    try:
        with session_scope(runtime.engine) as session:
            return library_names(session)
    finally:
        runtime.close()


def _metrics(settings: ServerSettings) -> AbstractContextManager[object]:
    from flows.pipeline.runtime.exporter import exporter

    return exporter(reader_url(settings), settings.metrics_port) if settings.metrics_port else nullcontext()


def _wait_for(what: str, *, nl: bool = True) -> None:
    click.echo(f"Waiting for {what}", err=True, nl=nl)


def _check(settings: ServerSettings, night: NightlyPlace) -> None:
    """Refuse a night that would fail for good, and warn of problems that may pass."""
    from flows.server.nights.night_check import NothingYet, find_obstacle

    error = find_obstacle(settings, night.parameters)
    if error and (is_transient(error) or isinstance(error, NothingYet)):
        click.echo(f"Warning      {night.prefix}: {explain(error) or error}", err=True)
    elif error:
        reason = explain(error) or error
        raise click.ClickException(f"{night.prefix} cannot be labeled every night: {reason}") from error


def _serve(
    deployments: "list[RunnerDeployment]",
    libraries: Sequence[str],
    nights: Sequence[NightlyPlace],
    settings: ServerSettings,
    port: int,
    pages: Pages,
) -> None:
    from prefect.client.orchestration import get_client

    from flows.server.runner import InterruptibleRunner

    # a night that falls due while nobody serves is late, and runs when somebody serves again
    runner = InterruptibleRunner(name="wordwave", pause_on_shutdown=False)
    runner.offer(deployments)
    with get_client(sync_client=True) as client:
        for note in create_missing_places(client, nights):
            click.echo(f"Note         {note}", err=True)
        share_limit(client, runner.offer(serve_places(client, libraries)))
        _describe(read_places(client), nights, settings)
    click.echo(f"Alerts       {update_automations(settings.notification_block)}")
    click.echo(f"Readable     {', '.join(settings.read_roots) or 'nothing yet: set WORDWAVE_READ_ROOTS'}")
    if settings.metrics_port:
        click.echo(f"Metrics      {origin(HOST, settings.metrics_port)}/metrics")
    click.echo(f"Explore      {pages}")
    click.echo(f"Password     the UI asks for it once: cat {shlex.quote(str(password_file(settings.home)))}")
    click.echo(f"Ready        {len(deployments)} flows at {origin(HOST, port)}")
    click.echo("Ctrl-C stops the server and the flows; wordwave down stops Postgres")
    asyncio.run(runner.serve())


def _describe(
    places: "Sequence[DeploymentResponse]", nights: Sequence[NightlyPlace], settings: ServerSettings
) -> None:
    """Print what runs when, where the command line is not followed, and what will fail."""
    from flows.server.nights.night_check import find_obstacle

    named = {deployment_name(night.prefix): night for night in nights}
    for place in places:
        what, *when = describe_place(place)
        click.echo(f"Nightly      {place.name}: {what}")
        for line in when:
            click.echo(f"             {line}")
        if differing := differences(named[place.name], place) if place.name in named else []:
            note = f"{place.name} keeps its settings from the UI: {'; '.join(differing)}"
            click.echo(f"Note         {note}. Change them there", err=True)
        if place.name not in named and (error := find_obstacle(settings, place.parameters)):
            click.echo(f"Warning      {place.name}: {explain(error) or error}", err=True)
