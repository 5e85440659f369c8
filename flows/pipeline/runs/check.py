"""Examinations of what is in place: what was found and, where one failed, what to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


class ChecksFailed(ValueError):
    """Something is not as it should be."""


class Concern(Exception):
    """Something works, and somebody should still look at it."""


@dataclass(frozen=True)
class Check:
    """What one examination found; `remedy` is empty where all is well."""

    name: str
    passed: bool
    finding: str
    remedy: str = ""

    @property
    def verdict(self) -> str:
        """In a word."""
        if not self.passed:
            return "FAIL"
        return "warn" if self.remedy else "ok"


def check(name: str, examination: Callable[[], str], remedy: str) -> Check:
    """An examination gives its finding, warns by raising Concern, or fails by raising another error."""
    try:
        return Check(name, True, examination())
    except Concern as concern:
        return Check(name, True, str(concern), remedy)
    except Exception as error:  # whatever is wrong is what was asked
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Check(name, False, reason[0], remedy)


def require(checks: Iterable[Check]) -> None:
    """Raises ChecksFailed where one did, with what to do."""
    if failed := [found for found in checks if not found.passed]:
        raise ChecksFailed("; ".join(f"{c.name}: {c.finding} -> {c.remedy}" for c in failed))
