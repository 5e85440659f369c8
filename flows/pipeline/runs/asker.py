"""Who asks for a run: the account of this process, unless it works for a schedule or the UI."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_asker: ContextVar[str | None] = ContextVar("asker", default=None)


def asker() -> str:
    """Return who asks for what this process does now."""
    return _asker.get() or _account()


@contextmanager
def asked_by(name: str) -> Iterator[None]:
    """Let runs in this block be asked for by that name, unless a block around it has one."""
    token = _asker.set(_asker.get() or name)
    try:
        yield
    finally:
        _asker.reset(token)


def _account() -> str:
    """Return the name of the account, which variables cannot change, or its number if it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
