"""Deadline of a download: boto3 limits each wait for bytes, not their sum."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.response import StreamingBody


def describe_deadline(uri: str, seconds: float) -> str:
    """Return the message of a missed deadline, with its remedy."""
    return (
        f"{uri!r} was not read within {seconds:.0f} s: where the store is that slow, raise "
        "WORDWAVE_DOWNLOAD_TIMEOUT or lower WORDWAVE_MIN_DOWNLOAD_RATE"
    )


@contextmanager
def ended_after(seconds: float, body: "StreamingBody", uri: str) -> Iterator[None]:
    """End the transfer of a body `seconds` from now. Raises TimeoutError if that cut it."""
    expired = Event()

    def expire() -> None:
        expired.set()
        with suppress(Exception):  # it may have just ended
            body._raw_stream.shutdown()  # type: ignore[attr-defined]

    timer = Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if expired.is_set():
            raise TimeoutError(describe_deadline(uri, seconds)) from error
        raise
    finally:
        timer.cancel()
