"""An HTTP proxy before an S3 server that does to chosen answers what networks, proxies and stores do."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Operation = Literal["LIST", "GET", "PUT"]
DELAY_SECONDS = 0.5
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing resets the connection."""


@dataclass(frozen=True)
class Answer:
    """An answer of the server, or what is sent in its place. `sent` is how much of the body goes out."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: int | None = None

    def encoded(self) -> bytes:
        """Return it as it goes over the wire; the length is that of the whole body."""
        headers = {**self.headers, "content-length": str(len(self.body)), "connection": "close"}
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", *map(": ".join, headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body[: self.sent]


def _error(status: int, code: str) -> Callable[[Answer], Answer]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return lambda _: Answer(status, {"content-type": "application/xml"}, body)


def _halved(answer: Answer) -> Answer:
    return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2])


def _flipped(answer: Answer) -> Answer:
    body = bytearray(answer.body)
    if body:
        body[len(body) * 2 // 3] ^= 1
    return Answer(answer.status, answer.headers, bytes(body))


def _other_etag(answer: Answer) -> Answer:
    other = '"0123456789abcdef0123456789abcdef"'
    return Answer(answer.status, {**answer.headers, "etag": other}, answer.body)


KINDS: Mapping[str, Callable[[Answer], Answer]] = {
    "delay": lambda answer: answer,
    "reset before": lambda answer: answer,
    "reset after": lambda answer: answer,
    "cut": lambda answer: Answer(answer.status, answer.headers, answer.body, len(answer.body) // 2),
    "truncate": _halved,
    "flip": _flipped,
    "200 empty": lambda _: Answer(200, {}, b""),
    "200 html": lambda _: Answer(200, {"content-type": "text/html"}, b"<html><body>Sign in</body></html>"),
    "403 denied": _error(403, "AccessDenied"),
    "403 skewed": _error(403, "RequestTimeTooSkewed"),
    "404": _error(404, "NoSuchKey"),
    "412": _error(412, "PreconditionFailed"),
    "500": _error(500, "InternalError"),
    "503": _error(503, "SlowDown"),
    "wrong etag": _other_etag,
}


@dataclass
class Fault:
    """What happens to `times` requests of an operation, from its request number `first` (from 0) on."""

    operation: Operation
    kind: str
    first: int = 0
    times: int = 1
    seen: int = 0
    injected: int = 0

    def hits(self, operation: Operation | None) -> bool:
        """Count a request; whether it is one of them."""
        if operation != self.operation:
            return False
        self.seen += 1
        hit = self.first < self.seen <= self.first + self.times
        self.injected += hit
        return hit


class Proxy:
    """Passes requests on to `upstream`; set `fault` to have it disturb some."""

    def __init__(self, upstream: str) -> None:
        target = urlsplit(upstream)
        self._upstream = (target.hostname, target.port)
        self.fault: Fault | None = None
        self.seen: dict[Operation, int] = {"LIST": 0, "GET": 0, "PUT": 0}
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; each has a connection of its own."""
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client, or what it was, is gone
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _request(reader, writer)
        operation = _operation(request)
        if operation:
            self.seen[operation] += 1
        fault = self.fault
        kind = fault.kind if fault and fault.hits(operation) else None
        answer = None if kind == "reset before" else await self._ask(request)
        if answer is None or kind == "reset after":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        if kind == "delay":
            await asyncio.sleep(DELAY_SECONDS)
        writer.write((KINDS[kind](answer) if kind else answer).encoded())
        await writer.drain()

    async def _ask(self, request: "_Request") -> Answer:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request.encoded())
            status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            return Answer(int(status.split()[1]), headers, await reader.read())
        finally:
            writer.close()


@dataclass(frozen=True)
class _Request:
    line: str
    headers: Mapping[str, str]
    body: bytes

    def encoded(self) -> bytes:
        kept = {name: value for name, value in self.headers.items() if name != "expect"}
        lines = [self.line, *map(": ".join, {**kept, "connection": "close"}.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    line, headers = _head(await reader.readuntil(b"\r\n\r\n"))
    if headers.get("expect"):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return _Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def _head(data: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = data.decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines if line)
    return first, {name.lower(): value.strip() for name, value in pairs}


def _operation(request: _Request) -> Operation | None:
    method, target, _ = request.line.split()
    url = urlsplit(target)
    has_key = url.path.strip("/").count("/") > 0
    if method == "PUT" and has_key:
        return "PUT"
    if method == "GET" and has_key:
        return "GET"
    lists = parse_qs(url.query, keep_blank_values=True).keys() & {"list-type", "versions"}
    return "LIST" if method == "GET" and lists else None


@contextmanager
def proxy_before(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own for the block."""
    proxy, loop = Proxy(upstream), asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
