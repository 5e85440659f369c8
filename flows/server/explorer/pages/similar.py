"""Clips that sound like a clip."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clip import get_clip
from db.explorer.clips import Scope, list_libraries
from db.explorer.latents import get_latent, list_labels_of, list_latents
from flows.server.explorer.query import canonical_place, clip_id_of, given_text, reading
from flows.server.explorer.rendering import page
from flows.server.explorer.similarity import directions, nearest

MAX_CANDIDATES = 10_000
SHOWN = 25


def similar(request: Request) -> Response:
    """Compare a clip with every candidate, and show the most similar ones."""
    given = given_text(request, "place")
    place = canonical_place(given) if given else ""
    library = given_text(request, "library")
    with reading(request) as session:
        clip = get_clip(session, clip_id_of(request))
        if clip is None:
            raise HTTPException(404, "No clip has this number now: it was replaced by a newer version.")
        latent = get_latent(session, clip.content_sha256) if clip.content_sha256 else None
        library = library or next(iter(list_libraries(session, 1)), "")
        scope = Scope(place, library) if place else None
        known = list_latents(session, scope, latent.codec, MAX_CANDIDATES) if latent else []
        others = [one for one in known if one.clip_id != clip.clip_id]
        found = []
        if latent and others:
            (query,) = directions([(latent.mean, latent.deviation)])
            unit = directions([(one.mean, one.deviation) for one in others])
            found = [(others[at], cosine) for at, cosine in nearest(query, unit, SHOWN)]
        labels = list_labels_of(session, [one.clip_id for one, _ in found], library)
    return page(
        "similar.html",
        clip=clip,
        found=found,
        labels=labels,
        library=library,
        place=place,
        compared=len(others),
        has_latent=latent is not None,
        is_cut=len(known) == MAX_CANDIDATES,
        most=MAX_CANDIDATES,
    )
