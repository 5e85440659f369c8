"""Examinations of what is in place: what was found and, where one failed, what to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


class ChecksFailed(ValueError):
    """Something is not as it should be."""


@dataclass(frozen=True)
class Check:
    """What one examination found."""

    name: str
    passed: bool
    finding: str
    remedy: str = ""


def check(name: str, examination: Callable[[], str], remedy: str) -> Check:
    """An examination gives its finding, or fails by raising."""
    try:
        return Check(name, True, examination())
    except Exception as error:  # whatever is wrong is what was asked
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Check(name, False, reason[0], remedy)


def require(checks: Iterable[Check]) -> None:
    """Raises ChecksFailed where one did, with what to do."""
    if failed := [found for found in checks if not found.passed]:
        raise ChecksFailed("; ".join(f"{c.name}: {c.finding} -> {c.remedy}" for c in failed))
