"""Sounds and spectrograms of clips, and of those that libraries show."""

from collections.abc import Callable

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from core.errors import AudioRejected
from db.explorer.clip import get_clip, get_demonstration
from flows.pipeline.runtime.printable import visible
from flows.pipeline.storage import StorageError, StorageRefused
from flows.server.explorer.audio.copies import ObjectChanged
from flows.server.explorer.audio.playing import sound_response
from flows.server.explorer.audio.sounds import Source
from flows.server.explorer.pages.clip import WINDOW_SECONDS
from flows.server.explorer.query import clip_id_of, explorer_of, given_number, reading

MAX_PICTURE_SECONDS = 12.0
"""The part of a demonstration that is drawn."""
Find = Callable[[Session, Request], Source | None]


def clip_sound(request: Request) -> Response:
    """Answer with the sound of a clip."""
    return _sound(request, _of_clip)


def demonstration_sound(request: Request) -> Response:
    """Answer with the sound of a clip that a library shows."""
    return _sound(request, _of_demonstration)


def clip_picture(request: Request) -> Response:
    """Answer with the spectrogram of a part of a clip."""
    begins = given_number(request, "from", 0, 10**7) or 0.0
    return _picture(request, _of_clip, begins // WINDOW_SECONDS * WINDOW_SECONDS, WINDOW_SECONDS)


def demonstration_picture(request: Request) -> Response:
    """Answer with the spectrogram of the beginning of a clip that a library shows."""
    return _picture(request, _of_demonstration, 0.0, MAX_PICTURE_SECONDS)


def _of_clip(session: Session, request: Request) -> Source | None:
    clip = get_clip(session, clip_id_of(request))
    return None if clip is None else Source(clip.uri, clip.format, clip.content_sha256)


def _of_demonstration(session: Session, request: Request) -> Source | None:
    named = request.path_params
    version, ordinal = (min(int(named[name]), 2**31 - 1) for name in ("version", "ordinal"))
    found = get_demonstration(session, named["library"], version, ordinal)
    return None if found is None else Source(found.uri, found.format, found.content_sha256)


def _sound(request: Request, find: Find) -> Response:
    sounds, source = explorer_of(request).sounds, _source(request, find)
    return _or_reason(
        lambda: sound_response(request, *sounds.playable(source)),
    )


def _picture(request: Request, find: Find, begins: float, seconds: float) -> Response:
    sounds, source = explorer_of(request).sounds, _source(request, find)

    def draw() -> Response:
        png = sounds.spectrogram(source, begins, seconds)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    return _or_reason(draw)


def _source(request: Request, find: Find) -> Source:
    with reading(request) as session:
        source = find(session, request)
    if source is None:
        raise HTTPException(404, "There is no such clip now.")
    return source


def _or_reason(answer: Callable[[], Response]) -> Response:
    """Return the answer, or a sentence why there is none."""
    try:
        return answer()
    except ObjectChanged as changed:
        return _sentence(409, str(changed))
    except StorageRefused:
        return _sentence(
            403,
            "Its place is not among those that these pages may read: start them with --allow and the place, "
            "or name it in WORDWAVE_READ_ROOTS.",
        )
    except StorageError as error:
        return _sentence(502, f"The store does not give it: {error}")
    except AudioRejected as rejected:
        return _sentence(415, f"It cannot be played ({rejected.reason}): {rejected.message}")
    except (OSError, ValueError) as error:
        return _sentence(502, f"It cannot be read now: {error}")


def _sentence(status: int, text: str) -> Response:
    return PlainTextResponse(visible(text, 500), status_code=status, headers={"Cache-Control": "no-store"})
