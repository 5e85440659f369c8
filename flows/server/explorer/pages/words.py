"""Search by words: the codes of a clip, read as words."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clips import Scope, list_libraries
from db.explorer.words import GAP, MAX_WORDS, WordHit, WordPattern, find_words, parse_words
from flows.server.explorer.query import canonical_place, given_text, reading
from flows.server.explorer.rendering import page

MAX_HITS, MAX_PLACES = 50, 6


@dataclass(frozen=True)
class Words:
    """The words that are searched for, and their codes."""

    text: str
    pattern: WordPattern

    @property
    def can_match(self) -> bool:
        """Whether a codec has all of the words."""
        return bool(self.pattern.codes)


@dataclass(frozen=True)
class Hit:
    """A clip with the words, and the seconds at which they begin."""

    clip: WordHit
    starts: Sequence[float]


def read_words(session: Session, given: str | None) -> Words | None:
    """Return the words of a text, None without any."""
    words = (given or "").split()
    while words and words[-1] == GAP:
        words.pop()
    while words and words[0] == GAP:
        words.pop(0)
    if not words:
        return None
    if len(words) > MAX_WORDS:
        raise HTTPException(400, f"{len(words)} words are too many: search for up to {MAX_WORDS}.")
    return Words(" ".join(words), parse_words(session, words))


def search(request: Request) -> Response:
    """Find clips by words."""
    given = given_text(request, "place")
    place = canonical_place(given) if given else ""
    scope = Scope(place, "") if place else None
    with reading(request) as session:
        words = read_words(session, given_text(request, "words"))
        found = find_words(session, words.pattern, scope, MAX_HITS + 1) if words and words.can_match else []
        libraries = list_libraries(session, 1)
    hits = [Hit(one, words.pattern.starts(one, MAX_PLACES)) for one in found[:MAX_HITS]] if words else []
    return page(
        "search.html",
        words=words,
        hits=hits,
        is_cut=len(found) > MAX_HITS,
        most=MAX_HITS,
        place=place,
        library=libraries[0] if libraries else "",
    )
