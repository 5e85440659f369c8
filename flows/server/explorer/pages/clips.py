"""Lists of clips: those of a night, or those of a place now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clips import (
    AnsweredClip,
    AsideClip,
    ClipFilter,
    Scope,
    count_reasons,
    list_answered,
    list_aside,
    list_labels,
    list_libraries_by_label,
)
from db.explorer.nights import NightRow
from db.explorer.words import BadPattern, find_contents
from flows.server.explorer.baselines import guesses
from flows.server.explorer.pages.words import read_words
from flows.server.explorer.query import (
    given_number,
    given_text,
    night_of,
    reading,
    scope_of_night,
    scope_of_place,
)
from flows.server.explorer.rendering import link, page

PAGE_ROWS = 50
MAX_LABELS = 300
MAX_CONTENTS = 5_000
"""Clips with the words, among which the other filters look."""


@dataclass(frozen=True)
class Row:
    """A clip with its answer."""

    clip: AnsweredClip

    @property
    def others(self) -> Mapping[str, str]:
        """The labels that the labelers say that did not answer, and which ones do."""
        names: dict[str, list[str]] = {}
        for guess in guesses(self.clip.baselines):
            if guess.is_neighbor and guess.key != self.clip.labeler:
                names.setdefault(guess.label, []).append(guess.name)
        return {label: ", ".join(by) for label, by in names.items()}


@dataclass(frozen=True)
class Listing:
    """A page of a list. `next` is the address of the next one."""

    rows: Sequence[Row]
    aside: Sequence[AsideClip]
    next: str | None
    problem: str | None = None
    is_cut: bool = False


def night_clips(request: Request) -> Response:
    """Show a night with its clips."""
    with reading(request) as session:
        night = night_of(session, request)
        return _list(session, request, scope_of_night(night), night)


def place_clips(request: Request) -> Response:
    """Show the clips that a place has now."""
    with reading(request) as session:
        return _list(session, request, scope_of_place(request), None)


def _list(session: Session, request: Request, scope: Scope, night: NightRow | None) -> Response:
    is_aside = given_text(request, "show") == "aside"
    listing = (_aside if is_aside else _answered)(session, request, scope)
    by_label = list_libraries_by_label(session, scope.library, MAX_LABELS)
    listed = () if by_label else list_labels(session, scope.library, MAX_LABELS)
    known = {*listed, *(night.labels or () if night else ())}
    return page(
        "clips.html",
        night=night,
        scope=scope,
        listing=listing,
        is_aside=is_aside,
        labels=sorted(known),
        by_label=by_label,
        reasons=count_reasons(session, scope),
        given=_given(request),
        path=request.url.path,
        base={} if night else {"place": scope.place, "library": scope.library},
        is_first="after" not in request.query_params,
    )


def _given(request: Request) -> dict[str, str]:
    names = ("label", "margin", "words", "name", "only", "reason")
    return {name: given_text(request, name) or "" for name in names}


def _answered(session: Session, request: Request, scope: Scope) -> Listing:
    words = read_words(given_text(request, "words"))
    contents, problem = None, None
    try:
        contents = find_contents(session, words, scope, MAX_CONTENTS) if words else None
    except BadPattern as bad:
        contents, problem = [], str(bad)
    wanted = ClipFilter(
        label=given_text(request, "label"),
        most_margin=given_number(request, "margin", 0, 1),
        only_uncertain=given_text(request, "only") == "uncertain",
        name=given_text(request, "name"),
        contents=contents,
    )
    found = list_answered(session, scope, wanted, _after_answer(request), PAGE_ROWS + 1)
    rows = [Row(clip) for clip in found[:PAGE_ROWS]]
    after = f"{rows[-1].clip.margin!r}:{rows[-1].clip.answer}" if len(found) > PAGE_ROWS else None
    is_cut = contents is not None and len(contents) == MAX_CONTENTS
    return Listing(rows, [], _next(request, after), problem, is_cut)


def _after_answer(request: Request) -> tuple[float, int] | None:
    after = given_text(request, "after")
    if after is None:
        return None
    margin, _, answer = after.partition(":")
    try:
        return float(margin), min(int(answer), 2**63 - 1)
    except ValueError:
        raise HTTPException(400, "The parameter after is none of ours: start from the first page.") from None


def _aside(session: Session, request: Request, scope: Scope) -> Listing:
    after = given_text(request, "after")
    place = None
    if after is not None:
        uri, _, stage = after.rpartition(" ")
        place = uri, stage
    found = list_aside(session, scope, given_text(request, "reason"), place, PAGE_ROWS + 1)
    rows = found[:PAGE_ROWS]
    last = f"{rows[-1].uri} {rows[-1].stage}" if len(found) > PAGE_ROWS else None
    return Listing([], rows, _next(request, last))


def _next(request: Request, after: str | None) -> str | None:
    if after is None:
        return None
    given: Mapping[str, Any] = {**request.query_params, "after": after}
    return link(request.url.path, **given)
