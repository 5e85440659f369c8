"""The history of completed runs: the previous one, and how long they took."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Double, cast, exists, func, select
from sqlalchemy.orm import Session, aliased

from db.models import Codec, Llm, PredictionRow, Run


@dataclass(frozen=True)
class CompletedRun:
    """A completed run. `seconds` since its start; `summary` as of its end."""

    id: UUID
    day: date | None
    started_at: datetime
    seconds: float
    counts: Mapping[str, int]
    summary: Mapping[str, Any] | None


def _completed(*of: Any) -> Any:
    """Return a query for runs with the columns of CompletedRun; the time is that of the last attempt."""
    seconds = cast(func.extract("epoch", Run.finished_at - Run.started_at), Double)
    columns = (Run.id, Run.day, Run.started_at, seconds, Run.counts, Run.summary)
    return select(*columns).where(Run.status == "completed", *of)


def previous_run(session: Session, run_id: UUID) -> CompletedRun | None:
    """Return the last completed run of the same kind, prefix and library (any version) before this one.

    For runs of a day that is the run of the last earlier day, whenever it ran; otherwise the one that began
    last. Runs that were undone are skipped.
    """
    this = aliased(Run)
    library = func.split_part(Run.parameters["library"].astext, "@", 1)
    same = (
        this.id == run_id,
        Run.kind == this.kind,
        Run.parameters["prefix"] == this.parameters["prefix"],
        library == func.split_part(this.parameters["library"].astext, "@", 1),
        func.jsonb_typeof(Run.summary) == "object",
        ~exists().where(PredictionRow.run_id == Run.id, PredictionRow.retracted_by_run.is_not(None)),
        func.coalesce(Run.day < this.day, Run.started_at < this.started_at),
    )
    latest = _completed(*same).order_by(Run.day.desc().nulls_last(), Run.started_at.desc()).limit(1)
    row = session.execute(latest).one_or_none()
    return None if row is None else CompletedRun(*row)


def latest_parameters(session: Session, kind: str, library: str) -> Mapping[str, Any] | None:
    """Return the parameters of the last completed run of a kind with a library, of any version."""
    name = func.split_part(Run.parameters["library"].astext, "@", 1)
    latest = select(Run.parameters).where(Run.kind == kind, Run.status == "completed", name == library)
    return session.scalar(latest.order_by(Run.started_at.desc()).limit(1))


def work_began(session: Session, run_id: UUID) -> datetime:
    """Return when the work of a run began: with the first run of its kind for its library (of this version)
    since one for the library, of any version, was completed.
    """
    this, done = aliased(Run), aliased(Run)
    library, name = (
        Run.parameters["library"].astext,
        func.split_part(done.parameters["library"].astext, "@", 1),
    )
    finished = (
        select(func.max(done.started_at))
        .where(done.kind == this.kind, done.status == "completed", done.started_at < this.started_at)
        .where(name == func.split_part(this.parameters["library"].astext, "@", 1))
        .correlate(this)
        .scalar_subquery()
    )
    same = Run.kind == this.kind, library == this.parameters["library"].astext, this.id == run_id
    since = Run.started_at > func.coalesce(finished, datetime.min)
    return session.execute(select(func.min(Run.started_at)).where(*same, since)).scalar_one()


def weekday_summaries(session: Session, run_id: UUID, limit: int) -> list[Mapping[str, Any]]:
    """Return the summaries of the last earlier days of a run's weekday, kind and prefix, latest first.

    Of several completed runs of a day, that of the one that began last; a run without a day has none.
    """
    this = aliased(Run)
    same = (
        this.id == run_id,
        Run.kind == this.kind,
        Run.parameters["prefix"] == this.parameters["prefix"],
        Run.status == "completed",
        func.jsonb_typeof(Run.summary) == "object",
        Run.day < this.day,
        func.mod(this.day - Run.day, 7) == 0,
    )
    latest = select(Run.summary).where(*same).distinct(Run.day)
    latest = latest.order_by(Run.day.desc(), Run.started_at.desc()).limit(limit)
    return [summary for summary in session.scalars(latest) if summary is not None]


def unfinished_days(
    session: Session, kind: str, prefix: str, library: str, before: date, most_days: int
) -> list[date]:
    """Return the days without a completed run of this kind, prefix and library (a bare name), in order.

    At most `most_days` days before `before`, and none before the first day of such a run.
    """
    runs = (
        select(Run.day, func.bool_or(Run.status == "completed"))
        .where(Run.kind == kind, Run.parameters["prefix"].astext == prefix, Run.day < before)
        .where(func.split_part(Run.parameters["library"].astext, "@", 1) == library)
        .group_by(Run.day)
    )
    is_done = {day: done for day, done in session.execute(runs) if day}
    days = [before - timedelta(days=number) for number in range(most_days, 0, -1)]
    return [day for day in days if is_done and day >= min(is_done) and not is_done.get(day)]


def past_runs(session: Session, kind: str, codec: str, llm: str | None, limit: int) -> list[CompletedRun]:
    """Return the last completed runs of a kind with answers by these models (fingerprints) in one attempt."""
    answered = (
        select(PredictionRow.id)
        .join(Codec, Codec.id == PredictionRow.codec_id)
        .outerjoin(Llm, Llm.id == PredictionRow.llm_id)
        .where(PredictionRow.run_id == Run.id, Codec.fingerprint == codec)
        .where(Llm.fingerprint.is_not_distinct_from(llm))
        .exists()
    )
    latest = _completed(Run.kind == kind, Run.attempts == 1, answered).order_by(Run.started_at.desc())
    return [CompletedRun(*row) for row in session.execute(latest.limit(limit))]
