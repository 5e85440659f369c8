"""The state in which a flow run ends."""

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas import State

R = TypeVar("R")


def final_state(flow: "Flow[..., R]", *args: Any, **values: Any) -> "State[R]":
    """Run a flow and return its last state, without raising what it failed with."""
    return cast("State[R]", flow(*args, **values, return_state=True))
