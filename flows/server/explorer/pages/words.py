"""Search by words: the codes of a clip, read as words."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clips import Scope, list_libraries
from db.explorer.words import EVERYWHERE, BadPattern, WordHit, find_words
from flows.server.explorer.query import canonical_place, given_text, reading
from flows.server.explorer.rendering import page

MAX_WORDS, MAX_HITS, MAX_PLACES = 12, 50, 6
GAPS = ("*", "**")


def read_words(given: str | None) -> str | None:
    """Return a pattern of words without the gaps at its ends, None without any word."""
    words = (given or "").split()
    while words and words[-1] in GAPS:
        words.pop()
    while words and words[0] in GAPS:
        words.pop(0)
    if len(words) > MAX_WORDS:
        raise HTTPException(400, f"{len(words)} words are too many: search for up to {MAX_WORDS}.")
    return " ".join(words) or None


def search(request: Request) -> Response:
    """Find clips by words."""
    given = given_text(request, "place")
    place = canonical_place(given) if given else ""
    words = read_words(given_text(request, "words"))
    found: list[WordHit] = []
    problem = None
    with reading(request) as session:
        try:
            if words:
                found = find_words(session, words, Scope(place, "") if place else EVERYWHERE, MAX_HITS + 1)
        except BadPattern as bad:
            problem = str(bad)
        libraries = list_libraries(session, 1)
    return page(
        "search.html",
        words=words,
        problem=problem,
        hits=found[:MAX_HITS],
        is_cut=len(found) > MAX_HITS,
        most=MAX_HITS,
        most_places=MAX_PLACES,
        place=place,
        library=libraries[0] if libraries else "",
    )
