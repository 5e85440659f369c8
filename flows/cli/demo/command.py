"""The command `wordwave demo`."""

import click


@click.command()
def demo() -> None:
    """Run a night on generated clips, and print the answers.

    It uses the embedded Postgres and Prefect flows.
    """
    from flows.cli.demo.show import run_demo

    run_demo()
