"""Clips that a stage could not use: one open row per clip and stage, until it is resolved."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, func, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.base import among
from db.clips import Selection, in_selection
from db.models import Clip, QuarantineRow

RESOLVE = (
    update(QuarantineRow)
    .where(QuarantineRow.stage == bindparam("resolved_stage"), QuarantineRow.resolved_at.is_(None))
    .where(QuarantineRow.clip_id == any_(bindparam("clip_ids", type_=ARRAY(BigInteger))))
    .values(resolved_at=func.now())
    .returning(QuarantineRow.id)
    .execution_options(synchronize_session=False)
)
"""Built once, as every batch executes it twice."""


@dataclass(frozen=True)
class Rejection:
    """A clip and why it cannot be used: a stable reason code and a message for people."""

    clip_id: int
    reason: str
    message: str


@dataclass(frozen=True)
class QuarantinedClip:
    """An open quarantine row of a current clip."""

    clip_id: int
    uri: str
    stage: str
    reason: str
    message: str
    attempts: int
    last_run: UUID
    first_seen: datetime
    last_seen: datetime


def quarantine_clips(session: Session, stage: str, run_id: UUID, rejected: Sequence[Rejection]) -> None:
    """Open a row for each clip, or count another attempt on its open row.

    The last rejection of a clip counts.
    """
    latest = {clip.clip_id: clip for clip in rejected}
    if not latest:
        return
    row = insert(QuarantineRow)
    upsert = row.on_conflict_do_update(
        index_elements=[QuarantineRow.clip_id, QuarantineRow.stage],
        index_where=QuarantineRow.resolved_at.is_(None),
        set_={
            "reason": row.excluded.reason,
            "message": row.excluded.message,
            "attempts": QuarantineRow.attempts + 1,
            "last_run": row.excluded.last_run,
            "last_seen": func.now(),
        },
    )
    session.execute(upsert, [_row(latest[clip_id], stage, run_id) for clip_id in sorted(latest)])


def quarantine_contents(
    session: Session, stage: str, run_id: UUID, reasons: Mapping[bytes, tuple[str, str]]
) -> Counter[str]:
    """Open a row for every current clip of these contents, each with its reason code and message.

    Returns the number of clips by reason.
    """
    if not reasons:
        return Counter()
    wanted = among(Clip.content_sha256, reasons)
    clips = session.execute(select(Clip.id, Clip.content_sha256).where(Clip.missing_since.is_(None), wanted))
    rejected = [Rejection(clip_id, *reasons[content]) for clip_id, content in clips if content]
    quarantine_clips(session, stage, run_id, rejected)
    return Counter(clip.reason for clip in rejected)


def _row(clip: Rejection, stage: str, run_id: UUID) -> dict[str, object]:
    return {
        "clip_id": clip.clip_id,
        "stage": stage,
        "reason": clip.reason,
        "message": clip.message,
        "first_run": run_id,
        "last_run": run_id,
    }


def open_quarantine(session: Session, selection: Selection, *stages: str) -> list[QuarantinedClip]:
    """Return the open rows of the selected current clips at these stages (default: all), in uri order."""
    stored = QuarantineRow
    wanted = stored.stage.in_(stages) if stages else true()
    rows = session.execute(
        select(
            stored.clip_id,
            Clip.uri,
            stored.stage,
            stored.reason,
            stored.message,
            stored.attempts,
            stored.last_run,
            stored.first_seen,
            stored.last_seen,
        )
        .join(Clip, Clip.id == stored.clip_id)
        .where(in_selection(selection), stored.resolved_at.is_(None), wanted)
        .order_by(Clip.uri, stored.stage)
    )
    return [QuarantinedClip(*row) for row in rows]


def resolve(session: Session, stage: str, clip_ids: Collection[int]) -> int:
    """Close the open rows of these clips at a stage, which lets it try again; return their number."""
    closed = session.scalars(RESOLVE, {"resolved_stage": stage, "clip_ids": sorted(clip_ids)})
    return len(closed.all())
