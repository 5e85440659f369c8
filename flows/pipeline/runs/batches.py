"""Batches of a list: what is read, computed and written at once."""

from collections.abc import Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def batches_of(things: Sequence[Thing], size: int) -> list[Sequence[Thing]]:
    """Return the things in their order, `size` at a time; the last batch may be smaller."""
    return [things[start : start + size] for start in range(0, len(things), size)]
