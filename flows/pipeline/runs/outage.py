"""Waiting for a store or database that is away, once for all batches of a run."""

import logging
import time
from collections.abc import Callable
from random import uniform
from threading import Lock
from typing import TypeVar

from botocore.exceptions import FlexibleChecksumError, IncompleteReadError
from sqlalchemy.exc import DBAPIError

from db import sqlstate
from flows.pipeline.storage import DamagedTransfer, is_transient

logger = logging.getLogger(__name__)
T = TypeVar("T")

OF_ONE_OBJECT = (DamagedTransfer, TimeoutError, IncompleteReadError, FlexibleChecksumError)
PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Pauses before the second to fourth attempt of a batch with an error of its own, plus up to half as long."""
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 60.0
"""Waits between attempts while a store or database is away. Each is twice the one before."""


RETRY_ADVICE = "the retry does what is left"


class Away(ConnectionError):
    """A store or database stayed away for the whole waiting time."""

    def __init__(self, what: str, seconds: float, cause: str, left: str = RETRY_ADVICE) -> None:
        super().__init__(what, seconds, cause, left)
        self.what, self.seconds, self.cause, self.left = what, seconds, cause, left

    def __str__(self) -> str:
        waited = f"waited {_duration(self.seconds)}, as WORDWAVE_OUTAGE_TIMEOUT says"
        return f"{self.what} is away, {self.left} ({waited}; {self.cause})"

    def leaving(self, left: str) -> "Away":
        """Return the same error with the work that is left."""
        return Away(self.what, self.seconds, self.cause, left)


def can_pass(error: BaseException) -> bool:
    """Return whether an error of storage, database or a child process may pass."""
    return isinstance(error, ChildProcessError) or is_transient(error) or sqlstate.can_pass(error)


class Outage:
    """An outage: its start, and the wait before the next attempt."""

    def __init__(self, error: BaseException, bound: float) -> None:
        self.what, self.cause = _absent(error), _first_line(error)
        self.since, self._bound = time.monotonic(), bound
        self._waits = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    def next_wait(self) -> float:
        """Return the next wait. The last attempt is made at the bound; past it, raises Away."""
        if (left := self._bound - self.seconds) <= 0:
            raise Away(self.what, self._bound, self.cause) from None
        wait = min(FIRST_WAIT_SECONDS * 2.0**self._waits, MAX_WAIT_SECONDS, left)
        self._waits += 1
        return wait


class Breaker:
    """Repeats steps through outages; one for all batches of a run. Steps must be safe to repeat.

    While a store or database is away, a step waits and tries again until the outage has lasted `bound`
    seconds. From then on every step raises Away at once. Any step that succeeds ends the outage. A step that
    fails although others succeed has an error of its own, and a few attempts.
    """

    def __init__(self, bound: float = 0, wait: Callable[[float], object] = time.sleep) -> None:
        self._bound, self._wait = bound, wait
        self._outage: Outage | None = None
        self._changing = Lock()

    def run(self, step: Callable[[], T], *, ends_outage: bool = True) -> T:
        """Return the result of a step. A trivial step proves little, so it need not end an outage."""
        self._check()
        pauses = list(PAUSES_SECONDS)
        while True:
            began = time.monotonic()
            try:
                result = step()
            except Exception as error:
                self._pause(error, pauses)
            else:
                if ends_outage:
                    self._end(began)
                return result

    def _check(self) -> None:
        """Raise Away if the outage has lasted too long already."""
        with self._changing:
            if self._outage and self._outage.seconds >= self._bound:
                raise Away(self._outage.what, self._bound, self._outage.cause)

    def _pause(self, error: Exception, pauses: list[float]) -> None:
        """Wait before the next try; raises the error where none may help, Away past the bound."""
        if isinstance(error, Away) or not can_pass(error):
            raise error
        if not _is_away(error):
            self._wait(_own_pause(error, pauses))
            return
        with self._changing:
            if self._outage is None:
                _own_pause(error, pauses)
                self._outage = self._begin(error)
            wait = self._outage.next_wait()
        self._wait(wait)

    def _begin(self, error: Exception) -> Outage:
        outage, most = Outage(error, self._bound), _duration(self._bound)
        logger.warning("%s does not answer (%s): waiting for it, up to %s", outage.what, outage.cause, most)
        return outage

    def _end(self, began: float) -> None:
        """End the outage if a step succeeded that began at this time, after the outage did."""
        with self._changing:
            if self._outage and began >= self._outage.since:
                outage, self._outage = self._outage, None
                logger.warning("%s answers again after %s", outage.what, _duration(outage.seconds))


def _own_pause(error: Exception, pauses: list[float]) -> float:
    """Use up one of the few pauses of a step. Raises the error if none is left."""
    if not pauses:
        raise error
    return pauses.pop(0) * uniform(1.0, 1.5)


def _is_away(error: Exception) -> bool:
    """Return whether the service did not answer, rather than one answer being slow or damaged."""
    if isinstance(error, DBAPIError):
        return sqlstate.meaning(error) in sqlstate.UNAVAILABLE
    return is_transient(error) and not isinstance(error, OF_ONE_OBJECT)


def _absent(error: BaseException) -> str:
    return "the database" if isinstance(error, DBAPIError) else "the store"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
