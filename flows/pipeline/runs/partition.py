"""The clips that one run is about: a place, or what of it was last modified in a day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from db.clips import Selection, uris_modified_between
from db.engine import session_scope
from flows.pipeline.runs.days import modified_span, render_day, resolve_day
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

MAX_DAYS = 366
"""A range of days is listed and planned before any of it is done."""


@dataclass(frozen=True)
class Partition:
    """The clips of one run: those of a place, or those of them last modified in a span of time.

    `prefix` is the place as it was asked for, with {day}: the nights of one series have it in common. With
    `allow_loss` the listing of the place may be without most of its known clips.
    """

    prefix: str
    place: str
    span: tuple[datetime, datetime] | None = None
    day: date | None = None
    allow_loss: bool = False

    @property
    def name(self) -> str:
        """What the run's lock and row are called after."""
        return self.place if self.span is None else f"{self.place} {self.span[0].isoformat()}"

    @property
    def where(self) -> str:
        """Place and day, as a sentence says them."""
        return self.place if self.span is None else f"{self.place}, last modified on {self.day}"

    def holds(self, last_modified: datetime) -> bool:
        """Whether a clip of the place belongs here."""
        return self.span is None or self.span[0] <= last_modified < self.span[1]

    def selection(self, runtime: Runtime) -> Selection:
        """The clips as the database is asked for them, once they are listed."""
        if self.span is None:
            return self.place
        with session_scope(runtime.engine) as session:
            return uris_modified_between(session, self.place, *self.span)


def partition_of(
    prefix: str,
    day: str = "any",
    timezone: str = "UTC",
    due: datetime | None = None,
    *,
    allow_loss: bool = False,
) -> Partition:
    """What a prefix, with or without {day}, means on a day; `due` is when the run was, now if not given."""
    asked = (day, timezone, due or datetime.now(UTC))
    place = canonical(render_day(prefix, *asked))
    span, on = modified_span(prefix, *asked), resolve_day(*asked)
    return Partition(prefix.removesuffix("/"), place, span, on, allow_loss)


def partitions_of(
    prefix: str, first_day: date, last_day: date, timezone: str, *, allow_loss: bool = False
) -> list[Partition]:
    """One for each day from the first to the last. Raises ValueError when there is none, or a year's more."""
    days = (last_day - first_day).days + 1
    if not 0 < days <= MAX_DAYS:
        raise ValueError(
            f"{first_day} to {last_day} are {max(days, 0)} days: give 1 to {MAX_DAYS}, the first day first"
        )
    wanted = (first_day + timedelta(days=number) for number in range(days))
    return [partition_of(prefix, day.isoformat(), timezone, allow_loss=allow_loss) for day in wanted]
