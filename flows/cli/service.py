"""Commands that start, stop and check the service."""

from collections.abc import Sequence
from typing import Any

import click

from flows.cli.options import ALLOWED_PLACES
from flows.cli.output import echo_checks

PORT = click.IntRange(1, 65535)


@click.command()
@click.option("--port", type=PORT, default=4200, show_default=True, help="Port of the UI.")
@click.option(
    "--nightly",
    multiple=True,
    metavar="PREFIX",
    help="Label this place every night, such as s3://calls/{day}; can be repeated.",
)
@click.option("--library", multiple=True, metavar="NAME[@VERSION]", help="Library to label it by.")
@click.option(
    "--at",
    multiple=True,
    type=click.DateTime(["%H:%M"]),
    default=["02:00"],
    show_default="02:00",
    help="Time of the nightly run.",
)
@click.option(
    "--timezone",
    multiple=True,
    default=["UTC"],
    show_default="UTC",
    help="Time zone of the nightly run and of its days.",
)
@click.option("--analyst-port", type=PORT, help="Port of this machine for analysts' clients; default: none.")
def up(port: int, nightly: tuple[str, ...], analyst_port: int | None, **settings: tuple[Any, ...]) -> None:
    """Start Postgres, Prefect with its UI, and all flows.

    Ctrl-C stops Prefect and the flows.

    The first start with --nightly creates a scheduled deployment for the place. After that it is changed in
    the UI, and a restart leaves it alone. If --nightly is repeated, give --library, --at and --timezone once
    for all places, or once for each in the same order.
    """
    from flows.server.interruption import exit_when_interrupted

    exit_when_interrupted()
    from flows.server.nights.places import NightlyPlace, deployment_name
    from flows.server.up import run_up

    values = {option: _one_each(option, given, len(nightly)) for option, given in settings.items()}
    nights = [
        NightlyPlace(prefix, library, at.time(), timezone)
        for prefix, library, at, timezone in zip(
            nightly, values["library"], values["at"], values["timezone"], strict=True
        )
    ]
    if len({deployment_name(night.prefix) for night in nights}) < len(nights):
        raise click.UsageError("a place is given twice: name each place once with --nightly")
    run_up(port, nights, analyst_port)


def _one_each(option: str, values: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    """Return the value for each --nightly; a single value is for all."""
    if number == 0 and option == "library" and values:
        raise click.UsageError("--library needs --nightly, which names the place to label by it")
    if len(values) == 1:
        return values * number
    if len(values) != number:
        raise click.UsageError(
            f"--{option} is given {len(values)} times for {number} --nightly: give it once, or once for each"
        )
    return values


@click.command()
def down() -> None:
    """Stop the embedded Postgres. Its data stays."""
    from db.embedded.server import stop
    from flows.pipeline.configuration.settings import Settings

    stopped = stop(Settings().home)
    click.echo("stopped" if stopped else "the embedded Postgres was not running", err=True)


@click.command()
def doctor() -> None:
    """Check the installation, and say how to fix what is wrong.

    The checks cover settings, database, storage, models, device, Prefect server and workers.
    """
    from flows.server.health import examine_service
    from flows.server.process import ServerSettings

    settings = ServerSettings()
    for name, value in settings.describe().items():
        click.echo(f"  {name:<34}{value}")
    echo_checks(examine_service(settings))


@click.command()
def migrate() -> None:
    """Upgrade the database to the schema of this version.

    The database is that of WORDWAVE_OWNER_DATABASE_URL, or the embedded one.
    """
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import migrate as migrate_database

    click.echo(f"at the newest schema: {migrate_database(Settings())}", err=True)


@click.command()
@click.option("--port", type=PORT, default=4201, show_default=True, help="Port to listen on.")
@ALLOWED_PLACES
def explore(port: int, allow: tuple[str, ...]) -> None:
    """Serve pages to look at nights and to listen to clips.

    They are for this machine alone, ask for the password of `wordwave up`, and read as an analyst. `wordwave
    up` serves them too. Clips are heard where WORDWAVE_READ_ROOTS or --allow has their place.
    """
    serve_pages(port, "", allow)


def serve_pages(port: int, path: str, allow: Sequence[str]) -> None:
    """Serve the pages until stopped, after printing the address of one of them."""
    import shlex

    from flows.flow_runs.own_server import HOST, check_port, origin, password_file
    from flows.pipeline.configuration.settings import Settings
    from flows.server.explorer.process import serve

    settings = Settings().reading(*allow)
    check_port(port)
    click.echo(f"Pages        {origin(HOST, port)}{path}")
    click.echo(
        f"Password     user:password for the browser: cat {shlex.quote(str(password_file(settings.home)))}"
    )
    serve(settings, port)


@click.command()
def automations() -> None:
    """Update the automations of a Prefect server.

    The server is the one at PREFECT_API_URL. Automations mark runs whose process died, and send alerts to
    WORDWAVE_NOTIFICATION_BLOCK. `wordwave up` updates those of its own server.
    """
    from flows.flow_runs.own_server import found_by_clients
    from flows.server.automations import update_automations
    from flows.server.process import ServerSettings

    settings = ServerSettings()
    with found_by_clients(settings.home):
        click.echo(update_automations(settings.notification_block))


@click.command("metrics")
@click.option("--port", type=PORT, default=9464, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
def serve_metrics(port: int, host: str) -> None:
    """Serve metrics of all runs at /metrics until stopped.

    They are read from the tables. `wordwave up` does this itself if WORDWAVE_METRICS_PORT is set. Run this
    command if you start workers without it.
    """
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import reader_url
    from flows.pipeline.runtime.exporter import exporter

    with exporter(reader_url(Settings()), port, host) as thread:
        thread.join()


@click.command("watchdog")
def watch_analysts() -> None:
    """End analysts' transactions that last over 10 minutes.

    The command runs until stopped. `wordwave up` does this itself. Run this command if your workers use
    another Prefect server.
    """
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.maintenance.analyst_watchdog import watchdog
    from flows.pipeline.runtime.database import writer_url

    with watchdog(writer_url(Settings())) as thread:
        thread.join()
