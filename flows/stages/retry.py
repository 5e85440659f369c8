"""Which errors of a batch may pass by themselves, and another try for a batch that has no other retry."""

import logging
import time
from collections.abc import Callable
from random import uniform
from typing import TypeVar

from db import sqlstate
from flows.storage import is_transient

logger = logging.getLogger(__name__)
T = TypeVar("T")

PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Before the second, third and fourth try; each is up to half as long again."""


def can_pass(error: BaseException) -> bool:
    """Whether a storage that stutters, a database that went away or a killed child process may come back."""
    return isinstance(error, ChildProcessError) or is_transient(error) or sqlstate.can_pass(error)


def with_retries(step: Callable[[], T], wait: Callable[[float], object] = time.sleep) -> T:
    """Return the result of a step that is safe to repeat, trying again after errors that can pass."""
    for pause in PAUSES_SECONDS:
        try:
            return step()
        except Exception as error:
            if not can_pass(error):
                raise
            logger.warning("trying again after %s: %s", type(error).__name__, str(error).partition("\n")[0])
        wait(pause * uniform(1.0, 1.5))
    return step()
