"""Commands for analysts: queries, and how to connect."""

import sys
from pathlib import Path
from typing import Any

import click

from flows.cli.queries.formats import FORMATS, QueryFormat
from flows.cli.queries.saved import saved_names


class NamedValue(click.ParamType[tuple[str, str]]):
    """A value of a query, as NAME=VALUE."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and value, or raise click.BadParameter."""
        name, equals, text = value if isinstance(value, tuple) else value.partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is no NAME=VALUE: write it like library=sounds", param, ctx)
        return name, text


@click.command()
@click.argument("query", required=False)
@click.option("--saved", type=click.Choice(saved_names()), help="A query of docs/queries by its name.")
@click.option("--set", "values", type=NamedValue(), multiple=True, help="A value of it; can be repeated.")
@click.option("--format", "layout", type=click.Choice(FORMATS), default="table", show_default=True)
def sql(
    query: str | None, saved: str | None, values: tuple[tuple[str, str], ...], layout: QueryFormat
) -> None:
    """Query the database as an analyst.

    Analysts can read the views of schema analytics, and nothing else. A table shows 1,000 rows; csv, json and
    parquet go to stdout with all of them.
    """
    if (query is None) == (saved is None):
        raise click.UsageError('give a query in quotes, such as "SELECT * FROM nights", or --saved NAME')
    if values and saved is None:
        raise click.UsageError("--set gives a value to a saved query: name one with --saved")
    from flows.cli.queries.formats import write_answer
    from flows.cli.queries.query import answered
    from flows.cli.queries.saved import read_saved
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import analyst_url

    bound: dict[str, str] = {}
    if saved is not None:
        found = read_saved(saved)
        query, bound = found.sql, found.with_values(dict(values))
    assert query is not None
    with answered(analyst_url(Settings()), query, bound) as answer:
        write_answer(answer, layout, sys.stdout.buffer)


@click.command("analyst-url")
def show_address() -> None:
    """Print the analysts' address, and what to paste into psql, pandas, DuckDB, DBeaver and Metabase.

    The password is in a file that only you can read. DBeaver and Metabase need `wordwave up --analyst-port`,
    or a Postgres of your own.
    """
    from flows.cli.output import echo_lines
    from flows.pipeline.configuration.settings import Settings
    from flows.server.analysts.address import address_lines, analyst_address

    echo_lines(address_lines(analyst_address(Settings())))


@click.group()
def export() -> None:
    """Write labeled clips in the formats of other tools."""


@export.command("hf")
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--library", required=True, metavar="NAME", help="Library whose current answers are the labels."
)
def export_dataset(place: str, folder: Path, library: str) -> None:
    """Write a Hugging Face dataset with the audio of the labeled clips.

    The labels are the current answers. Read it with datasets.load_dataset("FOLDER").
    """
    from flows.cli.output import echo_lines, runtime_for
    from flows.pipeline.files.huggingface import write_dataset

    with runtime_for(place) as runtime:
        written = write_dataset(runtime, place, library, folder)
    echo_lines((f"left out, no longer there: {uri}" for uri in written.left_out), err=True)
    click.echo(f"{written.clips} clips in {folder}", err=True)
