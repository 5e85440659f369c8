"""Deadline of a download: boto3 limits each wait for bytes, not their sum."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.response import StreamingBody

_CHECK_SECONDS = 0.5


def describe_deadline(uri: str, seconds: float) -> str:
    """Return the message of a missed deadline, with its remedy."""
    return (
        f"{uri!r} was not read within {seconds:.0f} s: where the store is that slow, raise "
        "WORDWAVE_DOWNLOAD_TIMEOUT or lower WORDWAVE_MIN_DOWNLOAD_RATE"
    )


@contextmanager
def ended_after(seconds: float, body: "StreamingBody", uri: str) -> Iterator[None]:
    """End the transfer of a body `seconds` from now. Raises TimeoutError if that cut it."""
    transfer = _Transfer(body, time.monotonic() + seconds)
    _watch.add(transfer)
    try:
        yield
    except Exception as error:
        if transfer.has_expired:
            raise TimeoutError(describe_deadline(uri, seconds)) from error
        raise
    finally:
        _watch.remove(transfer)


@dataclass(eq=False)
class _Transfer:
    body: "StreamingBody"
    ends_at: float
    has_expired: bool = False

    def end_if_late(self) -> None:
        if not self.has_expired and time.monotonic() > self.ends_at:
            self.has_expired = True
            with suppress(Exception):  # it may have just ended
                self.body._raw_stream.shutdown()  # type: ignore[attr-defined]


class _Watch:
    """Ends late transfers, all from one thread: a timer for each would start a thread for each."""

    def __init__(self) -> None:
        self._lock, self._transfers = Lock(), set[_Transfer]()
        self._is_watching = False

    def add(self, transfer: _Transfer) -> None:
        with self._lock:
            self._transfers.add(transfer)
            if not self._is_watching:
                self._is_watching = True
                Thread(target=self._run, name="deadlines", daemon=True).start()

    def remove(self, transfer: _Transfer) -> None:
        with self._lock:
            self._transfers.discard(transfer)

    def _run(self) -> None:
        while self._check():
            time.sleep(_CHECK_SECONDS)

    def _check(self) -> bool:
        """End what is late; returns whether anything is left to watch."""
        with self._lock:
            for transfer in self._transfers:
                transfer.end_if_late()
            self._is_watching = bool(self._transfers)
            return self._is_watching


_watch = _Watch()
