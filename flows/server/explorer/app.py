"""The application: addresses, and what is answered when something is wrong."""

import logging
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from flows.pipeline.configuration.settings import Settings
from flows.server.api_server import OwnOriginsOnly
from flows.server.explorer.audio.sounds import Sounds
from flows.server.explorer.guard import PasswordOnly, SafeHeaders
from flows.server.explorer.pages.clip import clip
from flows.server.explorer.pages.clips import night_clips, place_clips
from flows.server.explorer.pages.comparison import comparison
from flows.server.explorer.pages.listening import (
    clip_picture,
    clip_sound,
    demonstration_picture,
    demonstration_sound,
)
from flows.server.explorer.pages.map import night_map, place_map
from flows.server.explorer.pages.overview import nights, overview
from flows.server.explorer.pages.similar import similar
from flows.server.explorer.pages.words import search
from flows.server.explorer.query import Explorer
from flows.server.explorer.rendering import page
from flows.server.explorer.reviewing.deciding import decision
from flows.server.explorer.reviewing.pages import queues, review

SHOWN = "/demonstrations/{version:int}/{ordinal:int}/{library:path}"
QUERY_CANCELED = "57014"

logger = logging.getLogger(__name__)


def explorer_app(
    settings: Settings, engine: Engine, sounds: Sounds, password: str, origins: list[str]
) -> ASGIApp:
    """Return the pages behind their walls. The engine is an analyst's."""
    app = Starlette(
        routes=[
            Route("/", overview),
            Route("/nights", nights),
            Route("/nights/{run}", night_clips),
            Route("/nights/{run}/map", night_map),
            Route("/clips", place_clips),
            Route("/map", place_map),
            Route("/clips/{clip:int}", clip),
            Route("/clips/{clip:int}/sound", clip_sound),
            Route("/clips/{clip:int}/spectrogram.png", clip_picture),
            Route("/clips/{clip:int}/similar", similar),
            Route(f"{SHOWN}/sound", demonstration_sound),
            Route(f"{SHOWN}/spectrogram.png", demonstration_picture),
            Route("/search", search),
            Route("/reviews", queues),
            Route("/reviews/{review:int}", review, methods=["GET"]),
            Route("/reviews/{review:int}", decision, methods=["POST"]),
            Route("/comparisons/{run}", comparison),
            Route("/health", lambda _: PlainTextResponse("ok")),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        exception_handlers={HTTPException: _refused, SQLAlchemyError: _unanswered},
    )
    app.state.explorer = Explorer(settings, engine, sounds)
    return OwnOriginsOnly(SafeHeaders(PasswordOnly(app, password)), origins)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    titles = {400: "That cannot be asked", 404: "Not found", 405: "Only reading is possible"}
    title = titles.get(error.status_code, "That did not work")
    text = error.detail if error.detail.endswith(".") else f"{error.detail}."
    response = page("message.html", status=error.status_code, title=title, text=text)
    response.headers.update(error.headers or {})
    return response


def _unanswered(request: Request, error: Exception) -> Response:
    logger.warning("%s could not be answered: %s", request.url.path, getattr(error, "orig", error))
    code = getattr(getattr(error, "orig", None), "pgcode", None)
    if code == QUERY_CANCELED:
        return page(
            "message.html",
            status=503,
            title="That took too long",
            text="The database was asked for over ten seconds. Narrow the search.",
        )
    return page(
        "message.html",
        status=503,
        title="The database does not answer",
        text="Try again in a moment. If it stays so, `wordwave doctor` on the server says why.",
    )
