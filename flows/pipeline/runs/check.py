"""Checks with a finding and, if one failed, a remedy."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


class ChecksFailed(ValueError):
    """At least one check failed."""


class Concern(Exception):
    """Something works but needs attention."""


@dataclass(frozen=True)
class Check:
    """The result of a check. `remedy` is empty if it passed without a concern."""

    name: str
    passed: bool
    finding: str
    remedy: str = ""

    @property
    def verdict(self) -> str:
        """The result in one word."""
        if not self.passed:
            return "FAIL"
        return "warn" if self.remedy else "ok"


def check(name: str, examine: Callable[[], str], remedy: str) -> Check:
    """Run a check. `examine` returns its finding, raises Concern to warn, or another error to fail."""
    try:
        return Check(name, True, examine())
    except Concern as concern:
        return Check(name, True, str(concern), remedy)
    except Exception as error:  # any exception means that the check failed
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Check(name, False, reason[0], remedy)


def require(checks: Iterable[Check]) -> None:
    """Raise ChecksFailed with the remedies if a check failed."""
    if failed := [found for found in checks if not found.passed]:
        raise ChecksFailed("; ".join(f"{c.name}: {c.finding} -> {c.remedy}" for c in failed))
