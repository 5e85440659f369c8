"""Ends a night at its n-th call of the database or the storage, as a kill there would."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from sqlalchemy import Engine, event

from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Readable, Storage

DATABASE_CALLS = ("before_cursor_execute", "commit")
STORAGE_CALLS = frozenset({"list", "find", "read", "write", "describe"})


class Killed(BaseException):
    """The process is dead: no code after this call runs, and no later call is made."""


class Fuse:
    """Counts calls, and raises from the n-th on; None never does."""

    def __init__(self, calls_left: int | None = None) -> None:
        self.calls, self._limit, self._lock = 0, calls_left, Lock()

    def __call__(self, *_: Any, **__: Any) -> None:
        """Count a call that is about to be made."""
        with self._lock:
            self.calls += 1
            if self._limit is not None and self.calls > self._limit:
                raise Killed(f"at call {self.calls}")


@contextmanager
def watching_database(fuse: Fuse) -> Iterator[None]:
    """Let every statement and commit of this process count in the block."""
    for name in DATABASE_CALLS:
        event.listen(Engine, name, fuse)
    try:
        yield
    finally:
        for name in DATABASE_CALLS:
            event.remove(Engine, name, fuse)


class _FusedStorage:
    """A storage each of whose calls counts."""

    def __init__(self, storage: Any, fuse: Fuse) -> None:
        self._storage, self._fuse = storage, fuse

    def __getattr__(self, name: str) -> Any:
        if name in STORAGE_CALLS:
            self._fuse()
        return getattr(self._storage, name)


class FusedRuntime(Runtime):
    """A process that can be made to end at any call."""

    fuse = Fuse()

    def storage(self, place: str) -> Storage:
        """Return what Runtime does."""
        fused: Any = _FusedStorage(super().storage(place), self.fuse)
        return fused  # type: ignore[no-any-return]

    def readable(self, place: str) -> Readable:
        """Return what Runtime does."""
        fused: Any = _FusedStorage(super().readable(place), self.fuse)
        return fused  # type: ignore[no-any-return]
