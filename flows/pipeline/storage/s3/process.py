"""Reading of S3 objects in a process of its own: both ends, and the protocol between them.

boto3 holds the interpreter for two milliseconds per object, for which decoding, encoding and writing would
have to wait in one process.

Protocol, over Unix sockets that keep packets apart: the first packet has the settings. Each other packet is a
request to read and comes with a socket for the answer. There the child sends the result of `Storage.read`
with the file's descriptor, or its error. The child starts with the first object and ends with its parent. It
gives up an object at a deadline, and is killed if it does not even do that; then its other reads are worth
another attempt too.
"""

import os
import pickle
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

from core.confinement.child import end_child, receive_files, start_child
from core.confinement.sandbox import hide_memory
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.hashed_copy import path_of
from flows.pipeline.storage.interface import Fetched, Readable
from flows.pipeline.storage.retryable import is_transient
from flows.pipeline.storage.s3.deadline import describe_deadline

_MAX_PACKET_BYTES = 2**17
_PATIENCE_SECONDS = 5.0
_GRACE_SECONDS = 30.0
"""Extra time for the child to give up a download by itself, which costs that object alone."""


class Reader:
    """Reads as S3Storage does, from any thread, in one child process. Close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asking = Lock()
        self._child: _Child | None = None

    @contextmanager
    def read(self, uri: str, version_token: str, size: int | None = None) -> Iterator[Fetched]:
        """Read as Storage.read does.

        Raises TimeoutError past the deadline, and ChildProcessError if somebody killed the child: both are
        worth another attempt.
        """
        seconds = self._settings.download_seconds(size)
        ours, theirs = _packets()
        with ours:
            with theirs:
                child = self._ask(pickle.dumps((uri, version_token, size)), theirs)
            ours.settimeout(seconds + _GRACE_SECONDS)
            try:
                answer, descriptors = receive_files(ours, _MAX_PACKET_BYTES)
            except TimeoutError:
                self._leave(child)
                raise TimeoutError(describe_deadline(uri, seconds)) from None
        if not answer:
            self._leave(child)
            raise ChildProcessError(f"the process that read {uri!r} ended before it was done: try again")
        fetched = _unpickled(answer)
        if isinstance(fetched, Exception):
            raise fetched
        with open(descriptors[0], "rb") as file:
            yield replace(fetched, path=path_of(file))

    def _ask(self, wanted: bytes, answer: socket.socket) -> "_Child":
        with self._asking:
            if not (self._child and self._child.takes(wanted, answer)):
                self._end()
                self._child = _Child(self._settings)
                self._child.takes(wanted, answer)
            return self._child

    def _leave(self, child: "_Child") -> None:
        """Kill a child that did not answer, since it may seem to take requests while it dies."""
        with self._asking:
            if self._child is child:
                self._end(patience=0)

    def close(self) -> None:
        """End the child, and with it what is being read; the next object would start another."""
        with self._asking:
            self._end()

    def _end(self, patience: float = _PATIENCE_SECONDS) -> None:
        if self._child:
            self._child.end(patience)
            self._child = None


class _Child:
    """The parent's end of one child process."""

    def __init__(self, settings: Settings) -> None:
        self._requests, theirs = _packets()
        with theirs:
            self._process = start_child(
                "flows.pipeline.storage.s3.process", channel=theirs, environment=os.environ
            )
        self._requests.settimeout(_PATIENCE_SECONDS)
        self._requests.send(pickle.dumps(settings))

    def takes(self, wanted: bytes, answer: socket.socket) -> bool:
        """Send a request. Returns False if the child was killed or hangs, though it may seem to be alive."""
        try:
            socket.send_fds(self._requests, [wanted], [answer.fileno()])
        except (ConnectionError, TimeoutError):
            return False
        return True

    def end(self, patience: float) -> None:
        self._requests.close()
        end_child(self._process, patience)


def _packets() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def serve(requests: socket.socket, settings: Settings) -> None:
    """Answer requests, several at once, until the parent closes its end."""
    threads = ThreadPoolExecutor(settings.download_threads)
    while True:
        wanted, descriptors = receive_files(requests, _MAX_PACKET_BYTES)
        if not wanted:
            return
        threads.submit(_answer, settings, wanted, socket.socket(fileno=descriptors[0]))


def _answer(settings: Settings, wanted: bytes, parent: socket.socket) -> None:
    with parent:
        try:
            with _s3(settings).read(*_unpickled(wanted)) as fetched, open(fetched.path, "rb") as file:
                socket.send_fds(parent, [pickle.dumps(fetched)], [file.fileno()])
        except Exception as error:
            parent.send(_pickled(error))


@cache
def _s3(settings: Settings) -> Readable:
    from flows.pipeline.storage.s3.storage import S3Storage, make_client

    return S3Storage(make_client(settings), settings.storage_uri, settings)


def _pickled(error: Exception) -> bytes:
    """Pickle an error, or a substitute that is as retryable if it cannot be pickled."""
    try:
        packed = pickle.dumps(error)
        _unpickled(packed)
    except Exception:
        kind = ConnectionError if is_transient(error) else RuntimeError
        return pickle.dumps(kind(f"{type(error).__name__}: {error}"))
    return packed


def _unpickled(packet: bytes) -> Any:
    return pickle.loads(packet)  # noqa: S301  both ends are this file, in processes of the same rights


def main() -> None:
    """Run the child, whose standard input is the channel of requests."""
    hide_memory()  # its environment holds the store's credentials
    with socket.socket(fileno=0) as requests:
        serve(requests, _unpickled(requests.recv(_MAX_PACKET_BYTES)))
    os._exit(0)  # nobody waits for the remaining reads


if __name__ == "__main__":
    main()
