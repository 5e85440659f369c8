"""Options that several commands share, and those made from the fields of a request."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from flows.pipeline.configuration.options import Option, RequestField, request_fields

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """Like click.FloatRange, but rejects NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or raise click.BadParameter."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number; give one in the range {self._describe_range()}.", param, ctx)
        return number


SHARE = FiniteRange(0, 1)
MIN_CLIPS = click.option(
    "--least-clips",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="A day with fewer clips ends as doubtful. 0 allows days without clips.",
)
ALLOW_LOSS = click.option(
    "--allow-loss", is_flag=True, help="Continue even if most known clips of the place are gone."
)
ALLOWED_PLACES = click.option(
    "--allow", multiple=True, metavar="PLACE", help="Another place that may be read; can be repeated."
)
OUTPUT_FORMAT = click.option(
    "--format", "layout", type=click.Choice(["table", "json"]), default="table", show_default=True
)


def request_options(
    request: type, names: Mapping[str, str] | None = None, *, are_changes: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command an option for each field of a request.

    `names` gives a field an option by another name. The options of changes have no defaults.
    """

    def decorate(command: Command) -> Command:
        for name, field in reversed([*request_fields(request).items()]):
            field = replace(field, default=None) if are_changes else field
            command = _option(field, (names or {}).get(name))(command)
        return command

    return decorate


def _option(field: RequestField, name: str | None) -> Callable[[Command], Command]:
    flag = name or f"--{field.name.replace('_', '-')}"
    declarations = [f"{flag}/--no-{flag[2:]}" if field.kind is bool else flag, field.name]
    kind, metavar = _type(field)
    if field.kind is bool:
        return click.option(*declarations, is_flag=True, default=field.default, help=field.option.help)
    if field.is_required:
        return click.option(*declarations, type=kind, required=True, help=field.option.help, metavar=metavar)
    return click.option(
        *declarations,
        type=kind,
        default=field.default,
        show_default=True,
        help=field.option.help,
        metavar=metavar,
    )


def _type(field: RequestField) -> tuple[Any, str | None]:
    """Return the type by which click checks a field, and what it shows in place of the type's name."""
    option = field.option
    if get_origin(field.kind) is Literal:
        return click.Choice(get_args(field.kind)), None
    if field.kind is int:
        return click.IntRange(*_int_bounds(option)), None
    if field.kind is float:
        low = option.ge if option.gt is None else option.gt
        high = option.lt if option.le is None else option.le
        return FiniteRange(low, high, min_open=option.gt is not None, max_open=option.lt is not None), None
    return None, option.metavar


def _int_bounds(option: Option) -> tuple[int | None, int | None]:
    highest = option.le if option.lt is None else option.lt - 1
    return _whole(option.ge), _whole(highest)


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
