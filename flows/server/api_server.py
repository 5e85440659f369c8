"""Serve Prefect's API and UI like `prefect server start`, but to their own origins only.

The origins are those of PREFECT_SERVER_CORS_ALLOWED_ORIGINS. Prefect alone answers under any host name,
accepts WebSockets from any page, and its UI asks somebody else how to send statistics even where they
are switched off.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from jsonschema import Draft202012Validator, ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class OwnOriginsOnly:
    """Refuse requests and WebSockets to another host name, or from a page of another origin.

    Pages that it serves reach these origins alone, and no page of somebody else can frame them. If someone
    else's DNS points a name to this machine, their page would count as our own origin.
    """

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in origins)
        self._policy = own_origins_policy(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else self._refusal(Headers(scope=scope))
        app = PlainTextResponse(refusal, status_code=403) if refusal else self._app
        await app(scope, receive, partial(self._send, send))

    async def _send(self, send: Send, message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("Content-Security-Policy", self._policy)
        await send(message)

    def _refusal(self, headers: Headers) -> str | None:
        hosts = [host.lower() for host in headers.getlist("host")]
        if len(hosts) != 1 or not self._hosts.issuperset(hosts):
            return "this server does not answer under that host name"
        if not self._origins.issuperset(headers.getlist("origin")):
            return "this server does not answer pages of another origin"
        return None


def own_origins_policy(origins: list[str]) -> str:
    """Return the Content-Security-Policy of pages that connect to these origins and to nothing else."""
    sockets = [f"ws{origin.removeprefix('http')}" for origin in origins]
    return "; ".join(
        (
            f"connect-src {' '.join(origins + sockets)}",
            "img-src 'self' data: blob:",
            "object-src 'none'",
            "frame-ancestors 'none'",
        )
    )


def refuse_in_sentences() -> None:
    """Refuse a wrong value with the field's own sentence instead of its pattern.

    This has to run before Prefect is imported, which copies these keywords.
    """
    by_pattern = Draft202012Validator.VALIDATORS["pattern"]

    def refuse(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
        for error in by_pattern(validator, pattern, value, schema):
            error.message = schema.get("refusal", error.message)
            yield error

    Draft202012Validator.VALIDATORS["pattern"] = refuse


def main() -> None:
    """Serve until SIGTERM. With --no-services, serve only the API and the UI."""
    refuse_in_sentences()
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    server = get_current_settings().server
    app = create_app(final=True, webserver_only="--no-services" in sys.argv)
    uvicorn.run(
        OwnOriginsOnly(app, server.api.cors_allowed_origins.split(",")),
        host=server.api.host,
        port=server.api.port,
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


if __name__ == "__main__":
    main()
