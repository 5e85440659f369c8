"""Events: what a labeler heard when in a content, written once per work key, retracted but never deleted."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_leave
from sqlalchemy.orm import Session

from db.base import among
from db.models import Clip, DemonstrationSet, EventRow, EventSet

_EVENT = (EventRow.label, EventRow.start_s, EventRow.end_s, EventRow.score)


@dataclass(frozen=True)
class HeardEvent:
    """A label and where it is heard, in seconds."""

    label: str
    start_s: float
    end_s: float
    score: float


@dataclass(frozen=True)
class NewEvents:
    """The events of a content by one labeler, by start; there may be none."""

    work_key: bytes
    content_sha256: bytes
    demonstration_set_id: int
    codec_id: int
    embedding_model_id: int
    labeler: str
    events: Sequence[HeardEvent]


@dataclass(frozen=True)
class ClipEvents:
    """Stored events of a current clip by one labeler, by start."""

    uri: str
    labeler: str
    events: Sequence[HeardEvent]


def heard_work_keys(session: Session, work_keys: Collection[bytes]) -> set[bytes]:
    """Return those of the work keys whose events are stored and not retracted."""
    standing = EventSet.retracted_by_run.is_(None)
    wanted = among(EventSet.work_key, work_keys)
    return set(session.scalars(select(EventSet.work_key).where(wanted, standing)))


def save_events(session: Session, run_id: UUID, heard: Sequence[NewEvents]) -> int:
    """Write the events whose work key is free, and return the number of contents."""
    ordered = sorted(heard, key=lambda one: one.work_key)
    if not ordered:
        return 0
    written = session.execute(
        insert_or_leave(EventSet).on_conflict_do_nothing().returning(EventSet.id, EventSet.work_key),
        [_set_row(one, run_id) for one in ordered],
    )
    ids = {work_key: set_id for set_id, work_key in written}
    rows = [row for one in ordered if one.work_key in ids for row in _event_rows(ids[one.work_key], one)]
    if rows:
        session.execute(insert(EventRow), rows)
    return len(ids)


def events_of_run(session: Session, run_id: UUID) -> Iterator[ClipEvents]:
    """Yield what a run heard in current clips, in uri order; those without events are left out."""
    rows = session.execute(
        select(Clip.uri, EventSet.labeler, EventSet.id, *_EVENT)
        .join(EventSet, EventSet.content_sha256 == Clip.content_sha256)
        .join(EventRow, EventRow.event_set_id == EventSet.id)
        .where(EventSet.run_id == run_id, EventSet.retracted_by_run.is_(None), Clip.missing_since.is_(None))
        .order_by(Clip.uri, EventSet.id, EventRow.number)
    )
    for (uri, labeler, _), events in groupby(rows, key=lambda row: row[:3]):
        yield ClipEvents(uri, labeler, [HeardEvent(*row[3:]) for row in events])


def events_of_clip(session: Session, uri: str, library: str) -> ClipEvents | None:
    """Return the latest events of a current clip by any version of a library, None if it has none."""
    newest = session.execute(
        select(EventSet.id, EventSet.labeler)
        .join(Clip, Clip.content_sha256 == EventSet.content_sha256)
        .join(DemonstrationSet, DemonstrationSet.id == EventSet.demonstration_set_id)
        .where(Clip.uri == uri, Clip.missing_since.is_(None), EventSet.retracted_by_run.is_(None))
        .where(DemonstrationSet.name == library)
        .order_by(EventSet.created_at.desc(), EventSet.id.desc())
        .limit(1)
    ).first()
    if newest is None:
        return None
    return ClipEvents(uri, newest.labeler, events_of_sets(session, [newest.id])[newest.id])


def events_of_sets(session: Session, set_ids: Collection[int]) -> dict[int, list[HeardEvent]]:
    """Return the events of each set, by start; a set may have none."""
    found: dict[int, list[HeardEvent]] = {set_id: [] for set_id in set_ids}
    rows = session.execute(
        select(EventRow.event_set_id, *_EVENT)
        .where(EventRow.event_set_id.in_(set_ids))
        .order_by(EventRow.event_set_id, EventRow.number)
    )
    for set_id, *event in rows:
        found[set_id].append(HeardEvent(*event))
    return found


def _set_row(one: NewEvents, run_id: UUID) -> Mapping[str, Any]:
    own = {name: value for name, value in vars(one).items() if name != "events"}
    return own | {"run_id": run_id}


def _event_rows(set_id: int, one: NewEvents) -> Iterator[Mapping[str, Any]]:
    for number, event in enumerate(one.events):
        yield {"event_set_id": set_id, "number": number, **vars(event)}
