"""Flows that are started by a form or a schedule: values are checked before anything else.

A value that is missing or wrong fails the run at once, in one sentence that names it. Prefect's own check
crashes a run whose schedule lacks a value, since it binds arguments before the run begins.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, get_type_hints

from prefect import Flow
from pydantic import TypeAdapter, ValidationError

from flows.flow_runs.retries import retried_after_outage

P = ParamSpec("P")
R = TypeVar("R")
MISSING = ...
"""The default of a required value; pydantic and the form's schema take it for none."""


class FormRefused(ValueError):
    """Values that a flow cannot be run with."""


class FormFlow(Flow[P, R]):
    """A flow that checks its values by itself, and is retried when a store or database was away."""

    def __init__(self, fn: Callable[P, R], **options: Any) -> None:
        fn = retried_after_outage()(fn)
        signature = inspect.signature(fn)
        required = [
            one.replace(default=MISSING) if one.default is one.empty else one
            for one in signature.parameters.values()
        ]
        fn.__signature__ = signature.replace(parameters=required)  # type: ignore[attr-defined]
        super().__init__(fn, **options)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the values in their types. Raises FormRefused, which names each that is missing or wrong."""
        kinds, wrong = get_type_hints(self.fn, include_extras=True), []
        checked = {}
        for name, value in parameters.items():
            try:
                checked[name] = _checked(kinds[name], value)
            except FormRefused as refusal:
                wrong.append(f"{name}: {refusal}")
        if wrong:
            raise FormRefused("; ".join(wrong))
        return checked


def flow(**options: Any) -> Callable[[Callable[P, R]], FormFlow[P, R]]:
    """Like prefect.flow, for a flow with a form."""

    def decorate(fn: Callable[P, R]) -> FormFlow[P, R]:
        return FormFlow(fn, **options)

    return decorate


def check_values(flow: Flow[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a run that a schedule starts with some of them; raises FormRefused."""
    signature = inspect.signature(flow.fn)
    if unknown := values.keys() - signature.parameters.keys():
        raise FormRefused(f"{flow.name} has no {', '.join(sorted(unknown))}")
    bound = signature.bind_partial(**values)
    bound.apply_defaults()
    return flow.validate_parameters(bound.arguments)


def _checked(kind: Any, value: Any) -> Any:
    if value is MISSING:
        raise FormRefused(
            "missing; give it in the form, or as a default value of the deployment where a schedule runs it"
        )
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FormRefused(first["msg"].removeprefix("Value error, ")) from None
