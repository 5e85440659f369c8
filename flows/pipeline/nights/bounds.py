"""Figures of a night, compared with the bounds that a team sets for its place."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from statistics import median
from typing import Any
from uuid import UUID

from db.engine import session_scope
from db.run_history import weekday_summaries
from db.watches import Bounds, add_watch, current_bounds
from flows.pipeline.configuration.credentials import refuse_credentials
from flows.pipeline.nights.summary import NightSummary
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.verdict import DoubtfulNight
from flows.pipeline.runtime.printable import printable
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

USUAL_NIGHTS = 4
"""Earlier nights of the same weekday, whose median is the usual number of clips."""
NEIGHBOR_NAMES = {"nearest": "tokens", "nearest_latent": "pooled latent"}
_NO_BOUNDS = Bounds()
_DAY_IN_PATTERN = re.compile(r"\\{day\\}|%7Bday%7D")
"""{day} in an escaped place; in a local place it is percent-encoded."""


@dataclass(frozen=True)
class Figure:
    """A figure of a night and its bound. `value` is None if the night has no data for it."""

    text: str
    value: float | None
    bound: float
    is_least: bool = False
    is_share: bool = True

    @property
    def is_beyond(self) -> bool:
        """Whether the value is beyond the bound."""
        if self.value is None:
            return False
        return self.value < self.bound if self.is_least else self.value > self.bound

    @property
    def limit(self) -> str:
        """The bound in words."""
        return f"at {'least' if self.is_least else 'most'} {self._number(self.bound)}"

    @property
    def number(self) -> str:
        """The value in the format of its bound, empty if it is unknown."""
        return "" if self.value is None else self._number(self.value)

    def __str__(self) -> str:
        return f"{self.text} ({self.number}, {self.limit})"

    def _number(self, value: float) -> str:
        return f"{100 * value:.4g}%" if self.is_share else f"{value:g}"


def set_bounds(runtime: Runtime, place: str, changes: Mapping[str, Any]) -> Bounds:
    """Change some bounds of a place and return all of them. The database keeps their history."""
    refuse_credentials(place)
    place = canonical(place)
    with session_scope(runtime.engine) as session:
        bounds = replace(current_bounds(session).get(place, _NO_BOUNDS), **changes)
        add_watch(session, place, bounds)
    return bounds


@dataclass(frozen=True)
class WatchedPlace:
    """A place with bounds; {day} in it matches any day."""

    place: str
    bounds: Bounds

    def holds(self, uri: str) -> bool:
        """Return whether a place or an object is this one or in it."""
        any_day = r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|\g<0>)"
        inside = re.compile(re.sub(_DAY_IN_PATTERN, any_day, re.escape(self.place)) + "(?:/|$)")
        return bool(inside.match(uri))

    @property
    def folder(self) -> str:
        """The folder that has all days of the place."""
        before, day, _ = re.split(r"(\{day\}|%7Bday%7D|$)", self.place, maxsplit=1)
        return before.rpartition("/")[0] if day else before


def watched_place(runtime: Runtime, partition: Partition) -> WatchedPlace | None:
    """Return the innermost watched place that contains a partition, if there is one."""
    with session_scope(runtime.engine) as session:
        watched = [WatchedPlace(*one) for one in current_bounds(session).items()]
    around = [one for one in watched if one.holds(partition.place) or one.holds(canonical(partition.prefix))]
    return max(around, key=lambda one: len(one.place), default=None)


def bounds_of(runtime: Runtime, partition: Partition) -> Bounds:
    """Return the bounds of the innermost watched place that contains a partition."""
    watched = watched_place(runtime, partition)
    return watched.bounds if watched else _NO_BOUNDS


def judge(
    runtime: Runtime, run_id: UUID, partition: Partition, night: NightSummary, least_clips: int
) -> list[Figure]:
    """Return the figures of a night that have a bound."""
    bounds = bounds_of(runtime, partition)
    with session_scope(runtime.engine) as session:
        earlier = weekday_summaries(session, run_id, USUAL_NIGHTS)
    usual = median(NightSummary(**summary).clips for summary in earlier) if earlier else None
    enough = Figure(f"{night.clips} clips", night.clips, least_clips, is_least=True, is_share=False)
    figures = {
        "max_quarantined": _quarantined(night, bounds.max_quarantined),
        "max_uncertain": _uncertain(night, bounds.max_uncertain),
        "max_unknown": _unknown(night, bounds.max_unknown),
        "max_one_label": _one_label(night, bounds.max_one_label),
        "least_agreement": _agreement(night, bounds.least_agreement),
        "least_usual": _usual(night, usual, partition.day, bounds.least_usual, is_least=True),
        "most_usual": _usual(night, usual, partition.day, bounds.most_usual, is_least=False),
    }
    bounded = [figures[name] for name in figures if getattr(bounds, name) != getattr(_NO_BOUNDS, name)]
    return [enough, *bounded] if least_clips > 1 else bounded


def doubts(figures: Iterable[Figure]) -> list[str]:
    """Return the figures beyond their bounds, in words."""
    return [str(figure) for figure in figures if figure.is_beyond]


def raise_doubts(figures: Iterable[Figure]) -> None:
    """Raise DoubtfulNight if figures are beyond their bounds."""
    if beyond := doubts(figures):
        raise DoubtfulNight("; ".join(beyond))


def _quarantined(night: NightSummary, bound: float) -> Figure:
    count = sum(night.quarantined.values())
    text = f"{count} of {night.clips} clips are quarantined"
    return Figure(text, _share(count, night.clips), bound)


def _uncertain(night: NightSummary, bound: float) -> Figure:
    text = f"{night.uncertain} of {night.answered} answers are uncertain"
    return Figure(text, _share(night.uncertain, night.answered), bound)


def _unknown(night: NightSummary, bound: float) -> Figure:
    answers = night.answered + night.unknown
    return Figure(f"{night.unknown} of {answers} clips are unknown", _share(night.unknown, answers), bound)


def _one_label(night: NightSummary, bound: float) -> Figure:
    label, count = next(iter(night.labels.items()), ("", 0))
    text = f"{count} of {night.answered} answers are {printable(label)}" if count else "no answers"
    return Figure(text, _share(count, night.answered), bound)


def _agreement(night: NightSummary, bound: float) -> Figure:
    """Return the agreement with the neighbor that agrees least."""
    if not night.agreement:
        return Figure("agreement with the nearest demonstration", None, bound, is_least=True)
    name, agreeing = min(night.agreement.items(), key=lambda pair: pair[1])
    text = f"agreement with the nearest demonstration by {NEIGHBOR_NAMES[name]}"
    return Figure(text, agreeing, bound, is_least=True)


def _usual(
    night: NightSummary, usual: float | None, day: date | None, bound: float, *, is_least: bool
) -> Figure:
    if not usual or day is None:
        return Figure("clips, of which no usual number is known yet", None, bound, is_least)
    text = f"{night.clips} clips, where {usual:g} are usual on a {day:%A}"
    return Figure(text, night.clips / usual, bound, is_least)


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
