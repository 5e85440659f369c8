"""The pages as a server. This module is also the process of them next to `wordwave up`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from db.engine import make_engine
from flows.flow_runs.own_server import HOST, check_port, origin, own_origins, read_password
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.database import analyst_url
from flows.server.process import ServerSettings, child_server

LAST_PORT = 65_535
PUBLIC_URL = "WORDWAVE_EXPLORE_URL"


@dataclass(frozen=True)
class Pages:
    """The port of the pages next to the UI, or the reason why they are not served."""

    port: int | None
    reason: str = ""

    def __str__(self) -> str:
        if self.port is None:
            return f"not served: {self.reason}"
        return f"{origin(HOST, self.port)} to look at nights and listen to clips, with the same password"


def plan_pages(settings: ServerSettings, ui_port: int) -> Pages:
    """Return where the pages will be. Raises OSError if a port that was set is not available."""
    if settings.explore_port == 0:
        return Pages(None, "WORDWAVE_EXPLORE_PORT is 0")
    if settings.database_url is not None and settings.analyst_database_url is None:
        return Pages(None, "they read as an analyst, set WORDWAVE_ANALYST_DATABASE_URL")
    port = settings.explore_port or (ui_port + 1 if ui_port < LAST_PORT else ui_port - 1)
    try:
        check_port(port)
    except OSError:
        if settings.explore_port:
            raise
        return Pages(None, f"port {port} is taken, set WORDWAVE_EXPLORE_PORT to another one")
    return Pages(port)


@contextmanager
def pages_server(pages: Pages) -> Iterator[None]:
    """Serve the pages in a process of their own, and let the flows of this one link to them."""
    if pages.port is None:
        yield
        return
    with child_server("flows.server.explorer.process", str(pages.port), environment={}):
        os.environ.setdefault(PUBLIC_URL, origin(HOST, pages.port))
        yield


def serve(settings: Settings, port: int) -> None:
    """Serve the pages on this machine until the process is interrupted."""
    import uvicorn

    from flows.server.explorer.app import explorer_app
    from flows.server.explorer.audio.sounds import Sounds

    engine = make_engine(analyst_url(settings), "wordwave explore").execution_options(
        postgresql_readonly=True
    )
    sounds = Sounds(settings)
    origins = [*own_origins(port), *([settings.explore_url] if settings.explore_url else [])]
    app = explorer_app(settings, engine, sounds, read_password(settings.home), origins)
    try:
        uvicorn.run(app, host=HOST, port=port, log_level="warning", access_log=False, ws="none")
    finally:
        sounds.close()
        engine.dispose()


if __name__ == "__main__":
    serve(Settings(), int(sys.argv[1]))
