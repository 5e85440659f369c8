"""Runs: begun once, taken up again when their process died, finished with counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.models import Run

FinalStatus = Literal["completed", "failed", "cancelled"]


class RunNotFound(LookupError):
    """No run has this id."""


@dataclass(frozen=True)
class RecordedRun:
    """A run as its row says."""

    id: UUID
    kind: str
    partition_key: str
    parameters: Mapping[str, Any]
    code_version: str
    day: date | None
    status: str
    counts: Mapping[str, int]


def start_run(
    session: Session,
    kind: str,
    partition_key: str,
    *,
    parameters: Mapping[str, Any],
    day: date | None,
    flow_run_id: str | None,
    code_version: str,
) -> UUID:
    """The id of a new run, or of the same one that was never finished, with one attempt more.

    The same run has equal kind, partition, parameters and code version (a run's rows have one origin). The
    caller holds the partition's lock, so a run still marked running is one whose process died; one that
    asked for something else is closed as failed.
    """
    asked = Run(
        kind=kind,
        partition_key=partition_key,
        parameters=dict(parameters),
        day=day,
        flow_run_id=flow_run_id,
        code_version=code_version,
    )
    dead = session.scalars(
        select(Run)
        .where(Run.status == "running", Run.kind == kind, Run.partition_key == partition_key)
        .order_by(Run.started_at.desc())
    ).all()
    same = next((run for run in dead if _asks_the_same(run, asked)), None)
    for run in dead:
        if run is not same:
            run.status, run.finished_at = "failed", func.now()
    return _begin(session, asked) if same is None else _take_up(session, same, flow_run_id)


def _asks_the_same(run: Run, asked: Run) -> bool:
    return run.parameters == asked.parameters and run.code_version == asked.code_version


def _begin(session: Session, run: Run) -> UUID:
    run.id = uuid4()
    session.add(run)
    session.flush()
    return run.id


def _take_up(session: Session, run: Run, flow_run_id: str | None) -> UUID:
    run.attempts += 1
    run.flow_run_id = flow_run_id
    session.flush()
    return run.id


def shard_counts(session: Session, night: UUID) -> Counter[str]:
    """What the finished shards of a night counted, together."""
    counts = session.scalars(
        select(Run.counts).where(Run.parameters["night"].astext == str(night), Run.status == "completed")
    )
    return sum(map(Counter, counts), Counter())


def finish_run(
    session: Session,
    run_id: UUID,
    counts: Mapping[str, int],
    status: FinalStatus,
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Closes a run with its counts and what stood at its end; RunNotFound when there is no such run."""
    finished = session.scalar(
        update(Run)
        .where(Run.id == run_id)
        .values(status=status, counts=dict(counts), summary=summary, finished_at=func.now())
        .returning(Run.id)
    )
    if finished is None:
        raise RunNotFound(f"run {run_id} is not in the table runs: it was never started here")


def get_run(session: Session, run_id: UUID) -> RecordedRun:
    """A run; raises RunNotFound when there is none of this id."""
    columns = [getattr(Run, field.name) for field in fields(RecordedRun)]
    row = session.execute(select(*columns).where(Run.id == run_id)).one_or_none()
    if row is None:
        raise RunNotFound(f"there is no run {run_id}: a run's page, and the column run of the views, name it")
    return RecordedRun(*row)
