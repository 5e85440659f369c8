"""A map of clips by how they sound."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clips import Scope
from db.explorer.latents import Label, find_codec, list_labels_of, list_latents
from db.explorer.nights import NightRow
from flows.server.explorer.query import night_of, reading, scope_of_night, scope_of_place
from flows.server.explorer.rendering import page
from flows.server.explorer.similarity import directions, plane

MAX_DOTS = 2_000
WIDTH, HEIGHT, BORDER = 1000, 620, 16
COLORS, SHAPES = 8, 6
NAMED_LABELS = 23
"""Labels with a sign of their own, the commonest ones; the others share one."""


@dataclass(frozen=True)
class Dot:
    """A clip on the map."""

    clip_id: int
    uri: str
    x: float
    y: float
    sign: int
    label: Label | None


@dataclass(frozen=True)
class Sign:
    """How the clips of a label are drawn: color and shape together are of this label alone."""

    number: int
    text: str
    clips: int

    @property
    def color(self) -> int:
        return self.number % COLORS

    @property
    def shape(self) -> int:
        return self.number % SHAPES


def night_map(request: Request) -> Response:
    """Show the map of a night."""
    with reading(request) as session:
        night = night_of(session, request)
        return _map(session, scope_of_night(night), night)


def place_map(request: Request) -> Response:
    """Show the map of the clips that a place has now."""
    with reading(request) as session:
        return _map(session, scope_of_place(request), None)


def _map(session: Session, scope: Scope, night: NightRow | None) -> Response:
    codec = find_codec(session, scope)
    found = list_latents(session, scope, codec, MAX_DOTS) if codec else []
    labels = list_labels_of(session, [one.clip_id for one in found], scope.library)
    dots, signs, kept = [], [], 1.0
    if len(found) > 2:
        signs = _signs([labels.get(one.uri) for one in found])
        numbers = {sign.text: sign.number for sign in signs}
        points, kept = plane(directions([(one.mean, one.deviation) for one in found]))
        for one, (x, y) in zip(found, points.tolist(), strict=True):
            label = labels.get(one.uri)
            sign = numbers.get(label.label if label else "", len(signs) - 1)
            dots.append(Dot(one.clip_id, one.uri, _at(x, WIDTH), _at(y, HEIGHT), sign, label))
    return page(
        "map.html",
        night=night,
        scope=scope,
        dots=dots,
        signs=signs,
        kept=kept,
        width=WIDTH,
        height=HEIGHT,
        is_cut=len(found) == MAX_DOTS,
        most=MAX_DOTS,
        base={} if night else {"place": scope.place, "library": scope.library},
    )


def _at(share: float, extent: int) -> float:
    return round(BORDER + share * (extent - 2 * BORDER), 1)


def _signs(labels: Sequence[Label | None]) -> list[Sign]:
    """Return the sign of each label, the commonest first, and one for all that have none."""
    counted = Counter(label.label for label in labels if label)
    named = counted.most_common(NAMED_LABELS)
    signs = [Sign(number, text, clips) for number, (text, clips) in enumerate(named)]
    if rest := len(labels) - sum(clips for _, clips in named):
        signs.append(Sign(NAMED_LABELS, "", rest))
    return signs
