"""The runtime that commands work with, and the ways they print."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from flows.pipeline.runtime.printable import printable

if TYPE_CHECKING:
    from flows.pipeline.runs.check import Check
    from flows.pipeline.runtime.resources import Runtime


@contextmanager
def runtime_for(*places: str) -> Iterator["Runtime"]:
    """Open a runtime that may read the places named on the command line."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import open_runtime

    runtime = open_runtime(Settings().reading(*places))
    try:
        yield runtime
    finally:
        runtime.close()


def echo_json(value: Any) -> None:
    """Print a JSON value on one line of stdout."""
    click.echo(printable(json.dumps(value, ensure_ascii=False)))


def echo_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines that may hold names of clips or libraries."""
    for line in lines:
        click.echo(printable(line), err=err)


def echo_checks(checks: "Iterable[Check]") -> None:
    """Print each check as it is made, and exit with status 1 if one failed."""
    healthy = True
    for check in checks:
        healthy = healthy and check.passed
        click.echo(printable(f"{check.verdict:<4} {check.name:<12} {check.finding}"))
        if check.remedy:
            click.echo(f"     {'':<12} -> {check.remedy}")
    sys.exit(0 if healthy else 1)
