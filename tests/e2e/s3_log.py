"""What a store was asked over HTTP, from the log of its server."""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

_LINE = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[\d.]+" (?P<status>\d+)')


@dataclass(frozen=True)
class Request:
    """One request. `path` is /bucket/key."""

    method: str
    path: str
    query: str
    status: int

    @property
    def reads_object(self) -> bool:
        return self.method == "GET" and self.path.count("/") > 1 and self.path[-1] != "/"

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD"}


class _Listener(logging.Handler):
    def __init__(self, hear: Callable[[Request], object]) -> None:
        super().__init__()
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        if found := _LINE.search(record.getMessage()):
            path, _, query = found["target"].partition("?")
            self._hear(Request(found["method"], unquote(path), query, int(found["status"])))


@contextmanager
def heard(hear: Callable[[Request], object]) -> Iterator[None]:
    """Calls `hear` with every request during the block, when it is done and before its answer goes out."""
    log = logging.getLogger("werkzeug")
    listener, level, propagate = _Listener(hear), log.level, log.propagate
    log.addHandler(listener)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(listener)
        log.setLevel(level)
        log.propagate = propagate


@contextmanager
def recorded() -> Iterator[list[Request]]:
    """The requests that the S3 server of the tests answers during the block, in their order."""
    requests: list[Request] = []
    with heard(requests.append):
        yield requests
