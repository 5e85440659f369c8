"""Flows started by a form or a schedule: their values are checked before anything else.

A missing or wrong value fails the run at once, with one sentence that names it. Prefect's own check crashes
a run whose schedule lacks a value, since it binds arguments before the run begins.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, ParamSpec, TypeVar

from prefect import Flow
from prefect.context import FlowRunContext
from pydantic import TypeAdapter, ValidationError

from flows.flow_runs.retries import retried_after_outage
from flows.flow_runs.states import tell_failures_in_sentences
from flows.forms import form_type
from flows.pipeline.configuration.options import RequestField, request_fields
from flows.pipeline.runs.asker import asked_by

P = ParamSpec("P")
R = TypeVar("R")
MISSING = ...
"""Default of a required value, which pydantic and the schema of the form take for no default."""


class FormRefused(ValueError):
    """A flow cannot run with the given values."""


class FormFlow(Flow[P, R]):
    """A flow that checks its own values, and is retried after an outage of a store or the database.

    A parameter that is a request (see `request_fields`) becomes a form field for each field of the request.
    """

    def __init__(self, fn: Callable[..., R], **options: Any) -> None:
        tell_failures_in_sentences()
        super().__init__(_with_flat_parameters(told_who_asked()(retried_after_outage()(fn))), **options)

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the values in their types. Raises FormRefused, which names each missing or wrong one."""
        declared, refusals = inspect.signature(self.fn).parameters, []
        checked = {}
        for name, value in parameters.items():
            try:
                checked[name] = _checked(declared[name].annotation, value)
            except FormRefused as refusal:
                refusals.append(f"{name}: {refusal}")
        if refusals:
            raise FormRefused("; ".join(refusals))
        return checked


def flow(**options: Any) -> Callable[[Callable[..., R]], FormFlow[..., R]]:
    """Decorate a function as prefect.flow does, for a flow with a form."""

    def decorate(fn: Callable[..., R]) -> FormFlow[..., R]:
        return FormFlow(fn, **options)

    return decorate


@contextmanager
def told_who_asked() -> Iterator[None]:
    """Decorate a flow's function so that its runs record who asked: the schedule or, without users, the UI.

    A flow inside another one has been asked for by whoever asked for that.
    """
    context = FlowRunContext.get()
    is_scheduled = bool(context and context.flow_run and context.flow_run.auto_scheduled)
    with asked_by("schedule" if is_scheduled else "UI"):
        yield


def check_values(flow: Flow[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values of a run that a schedule starts with some of them; raises FormRefused."""
    signature = inspect.signature(flow.fn)
    if unknown := values.keys() - signature.parameters.keys():
        raise FormRefused(f"{flow.name} has no parameter {', '.join(sorted(unknown))}")
    bound = signature.bind_partial(**values)
    bound.apply_defaults()
    return flow.validate_parameters(bound.arguments)


def _with_flat_parameters(fn: Callable[..., R]) -> Callable[..., R]:
    """Wrap a function so that its request is passed field by field, and required values may be missing."""
    declared = inspect.signature(fn, eval_str=True)
    requests = {name: one.annotation for name, one in declared.parameters.items() if _is_request(one)}
    flat = declared.replace(parameters=list(_flat_parameters(declared)))

    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> R:
        bound = flat.bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        for name, request in requests.items():
            values[name] = request(**{field: values.pop(field) for field in request_fields(request)})
        return fn(**values)

    run.__signature__ = flat  # type: ignore[attr-defined]
    return run


def _flat_parameters(declared: inspect.Signature) -> Iterator[Parameter]:
    """Yield the parameters of the form. The optional fields of a request come last: few people need them."""
    optional = []
    for parameter in declared.parameters.values():
        if not _is_request(parameter):
            default = MISSING if parameter.default is Parameter.empty else parameter.default
            yield parameter.replace(default=default)
            continue
        for field in request_fields(parameter.annotation).values():
            if field.is_required:
                yield _parameter(field, MISSING)
            else:
                optional.append(_parameter(field, field.default))
    yield from optional


def _is_request(parameter: Parameter) -> bool:
    return is_dataclass(parameter.annotation)


def _parameter(field: RequestField, default: Any) -> Parameter:
    kind = Parameter.POSITIONAL_OR_KEYWORD
    return Parameter(field.name, kind, default=default, annotation=form_type(field))


def _checked(kind: Any, value: Any) -> Any:
    if value is MISSING:
        raise FormRefused(
            "missing; set it in the form, or as a default value of the deployment if a schedule starts it"
        )
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise FormRefused(first["msg"].removeprefix("Value error, ")) from None
