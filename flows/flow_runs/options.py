"""Options that all flows share: how runs are named and logged, and the page they leave at the end."""

from collections.abc import Callable
from typing import Any, TypedDict

from flows.flow_runs.end import leave_page
from flows.flow_runs.log import write_sentences
from flows.flow_runs.names import named

Hook = Callable[..., Any]


class RunOptions(TypedDict):
    """Options of prefect.flow."""

    flow_run_name: Callable[[], str]
    on_failure: list[Hook]
    on_cancellation: list[Hook]
    on_crashed: list[Hook]


def run_options(name: str, *, tells_nights_apart: bool = False) -> RunOptions:
    """Return the options of a flow whose runs are named by this template."""
    write_sentences()
    return RunOptions(
        flow_run_name=named(name, tells_nights_apart=tells_nights_apart),
        on_failure=[leave_page],
        on_cancellation=[leave_page],
        on_crashed=[leave_page],
    )
