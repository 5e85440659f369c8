"""The command `wordwave torture`."""

import sys

import click


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="The same seed makes the same changes.",
)
@click.option(
    "--nights", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Nights to run."
)
def torture(seed: int, nights: int) -> None:
    """Disturb and kill nights, and check that nothing is lost.

    They run on clips of the command's own, in the storage and database of the settings. Clips are added,
    overwritten and removed, libraries imported, runs undone, and models promoted. Rows and objects are
    checked after each step. Everything is deleted at the end, as the database's owner.
    """
    from flows.cli.torture.run import summary_lines
    from flows.cli.torture.run import torture as torture_store
    from flows.pipeline.configuration.settings import Settings

    report = torture_store(Settings(), seed, nights, lambda line: click.echo(line, err=True))
    click.echo("\n".join(summary_lines(report)))
    sys.exit(1 if report.found else 0)
