"""Retraction and restoration of a run's answers, labels, events and audio alike; nothing is deleted."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.orm import Session, aliased

from db.models import DemonstrationRow, EventSet, GeneratedAudio, PredictionRow, Run

RECHECK = "recheck"
"""The kind of the runs that retract answers from wrong audio."""

Answers = type[PredictionRow] | type[GeneratedAudio] | type[EventSet]
ANSWERS: tuple[Answers, ...] = (PredictionRow, GeneratedAudio, EventSet)


def retract_run(session: Session, run_id: UUID, by_run: UUID) -> int:
    """Retract a run's answers in the name of another run; return their number."""
    return sum(_retract(session, table, table.run_id == run_id, by_run) for table in ANSWERS)


def retract_about(session: Session, contents: Collection[bytes], by_run: UUID) -> int:
    """Retract the answers about these contents; return their number."""
    return sum(_retract(session, table, table.content_sha256.in_(contents), by_run) for table in ANSWERS)


def retract_shown(session: Session, contents: Collection[bytes], by_run: UUID) -> int:
    """Retract the answers of libraries with one of these contents; return their number."""
    shown = DemonstrationRow
    libraries = select(shown.demonstration_set_id).where(
        or_(shown.content_sha256.in_(contents), shown.target_content_sha256.in_(contents))
    )
    return sum(
        _retract(session, table, table.demonstration_set_id.in_(libraries), by_run) for table in ANSWERS
    )


def restore_run(session: Session, run_id: UUID) -> int:
    """Restore the retracted answers of a run; return their number.

    Work that was answered again since keeps its newer answer; answers from wrong audio stay retracted.
    """
    return sum(_restore(session, table, run_id) for table in ANSWERS)


def has_answers(session: Session, run_id: UUID) -> bool:
    """Return whether a run ever wrote an answer, retracted or not."""
    return any(session.scalar(select(exists().where(table.run_id == run_id))) for table in ANSWERS)


def _retract(session: Session, table: Answers, which: ColumnElement[bool], by_run: UUID) -> int:
    retracted = session.scalars(
        update(table)
        .where(which, table.retracted_by_run.is_(None))
        .values(retracted_by_run=by_run)
        .returning(table.id)
    )
    return len(retracted.all())


def _restore(session: Session, table: Answers, run_id: UUID) -> int:
    newer = aliased(table)
    standing = exists().where(newer.work_key == table.work_key, newer.retracted_by_run.is_(None))
    wrong = exists().where(Run.id == table.retracted_by_run, Run.kind == RECHECK)
    restored = session.scalars(
        update(table)
        .where(table.run_id == run_id, table.retracted_by_run.is_not(None), ~standing, ~wrong)
        .values(retracted_by_run=None)
        .returning(table.id)
    )
    return len(restored.all())
