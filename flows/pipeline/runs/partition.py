"""The clips of a run: those of a place, or those of it last modified in a day."""

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
    """The clips of a run: those of a place, or those of it last modified in a span of time.

    `prefix` is the place with {day}, which the nights of a series have in common. With `allow_loss` most
    known clips of the place may be missing from its listing.
    """

    prefix: str
    place: str
    span: tuple[datetime, datetime] | None = None
    day: date | None = None
    allow_loss: bool = False

    @property
    def name(self) -> str:
        """The name of the partition in the run's lock and row."""
        return self.place if self.span is None else f"{self.place} {self.span[0].isoformat()}"

    @property
    def where(self) -> str:
        """Place and day in words."""
        return self.place if self.span is None else f"{self.place}, last modified on {self.day}"

    def holds(self, last_modified: datetime) -> bool:
        """Return whether a clip of the place belongs to the partition."""
        return self.span is None or self.span[0] <= last_modified < self.span[1]

    def selection(self, runtime: Runtime) -> Selection:
        """Return the clips as a selection for queries, once they are listed."""
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
    """Return the partition of a prefix, with or without {day}, on a day. `due` is when the run was due."""
    when = (day, timezone, due or datetime.now(UTC))
    place = canonical(render_day(prefix, *when))
    span, date_ = modified_span(prefix, *when), resolve_day(*when)
    return Partition(prefix.removesuffix("/"), place, span, date_, allow_loss)


def partitions_of(
    prefix: str, first_day: date, last_day: date, timezone: str, *, allow_loss: bool = False
) -> list[Partition]:
    """Return the partitions from the first to the last day, inclusive. Raises ValueError beyond MAX_DAYS."""
    days = (last_day - first_day).days + 1
    if not 0 < days <= MAX_DAYS:
        raise ValueError(
            f"{first_day} to {last_day} are {max(days, 0)} days: use 1 to {MAX_DAYS}, the first day first"
        )
    wanted = (first_day + timedelta(days=number) for number in range(days))
    return [partition_of(prefix, day.isoformat(), timezone, allow_loss=allow_loss) for day in wanted]
