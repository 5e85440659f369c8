"""Runs: begun once, resumed after a crash or a retry of their flow run, and finished with counts."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import and_, bindparam, exists, false, func, or_, select, update
from sqlalchemy.orm import Session

from db.models import Run

FinalStatus = Literal["completed", "failed", "cancelled"]
GIVEN_UP_STATUSES: tuple[FinalStatus, ...] = ("failed", "cancelled")


# The statements of every batch are built once: building one takes longer than Postgres takes to answer it.
IS_CLAIMED = and_(
    Run.id == bindparam("claimed_run"),
    Run.attempts == bindparam("claimed_attempt"),
    Run.status == "running",
)
HOLD_RUNS = (
    select(Run.id)
    .where(or_(IS_CLAIMED, and_(Run.id == bindparam("night"), ~Run.status.in_(GIVEN_UP_STATUSES))))
    .order_by(Run.id)
    .with_for_update(read=True)
)
SAVE_COUNTS = (
    update(Run)
    .where(IS_CLAIMED)
    .values(counts=bindparam("new_counts"), figures=bindparam("new_figures"))
    .returning(Run.id)
    .execution_options(synchronize_session=False)
)


class RunNotFound(LookupError):
    """No run has this id."""


class RunLost(RuntimeError):
    """Another process resumed or closed the run: this one may no longer write as the run."""


@dataclass(frozen=True)
class RunClaim:
    """The right of one process to write as a run, until another process resumes the run.

    A shard claims its own run and writes rows as its night, unless that failed or was cancelled.
    """

    id: UUID
    attempt: int
    night: UUID | None = None

    @property
    def writes_as(self) -> UUID:
        """The run named by written rows."""
        return self.night or self.id


@dataclass(frozen=True)
class RecordedRun:
    """A run as stored."""

    id: UUID
    kind: str
    partition_key: str
    parameters: Mapping[str, Any]
    code_version: str
    day: date | None
    status: str
    attempts: int
    counts: Mapping[str, int]
    figures: Mapping[str, float]


def start_run(
    session: Session,
    kind: str,
    partition_key: str,
    *,
    parameters: Mapping[str, Any],
    asked: Mapping[str, Any] | None = None,
    day: date | None,
    flow_run_id: str | None,
    code_version: str,
    asked_by: str | None = None,
    price_per_hour: float | None = None,
) -> RecordedRun:
    """Begin a run, or resume the same one with one more attempt.

    A run is resumed if it was never finished, or if the same flow run began it: a flow run that is retried is
    one run. The same run has equal kind, partition and code version (a run's rows have one origin) and equal
    requested parameters. If it fixed some parameters when it began, `asked` has those of the request, and the
    fixed ones are kept; so are `asked_by` and the price of its first attempt. The caller holds the
    partition's lock, so a run still marked running is one whose process died; one with another request is
    closed as failed.
    """
    wanted = Run(
        kind=kind,
        partition_key=partition_key,
        parameters=dict(parameters),
        asked=None if asked is None else dict(asked),
        day=day,
        flow_run_id=flow_run_id,
        code_version=code_version,
        asked_by=asked_by,
        price_per_hour=price_per_hour,
    )
    is_ours = Run.flow_run_id == flow_run_id if flow_run_id else false()
    found = session.scalars(
        select(Run)
        .where(Run.kind == kind, Run.partition_key == partition_key)
        .where(or_(Run.status == "running", is_ours))
        .order_by((Run.status == "running").desc(), Run.started_at.desc())
    ).all()
    same = next((run for run in found if _is_same_work(run, wanted)), None)
    for run in found:
        if run is not same and run.status == "running":
            run.status, run.finished_at = "failed", func.now()
    started = _begin(session, wanted) if same is None else _take_up(session, same, flow_run_id)
    return get_run(session, started)


def _is_same_work(run: Run, wanted: Run) -> bool:
    return (
        _requested_parameters(run) == _requested_parameters(wanted)
        and run.code_version == wanted.code_version
    )


def _requested_parameters(run: Run) -> Mapping[str, Any]:
    return run.parameters if run.asked is None else run.asked


def _begin(session: Session, run: Run) -> UUID:
    run.id = uuid4()
    session.add(run)
    session.flush()
    return run.id


def _take_up(session: Session, run: Run, flow_run_id: str | None) -> UUID:
    run.attempts += 1
    run.status, run.finished_at = "running", None
    if run.flow_run_id not in (None, flow_run_id):
        run.earlier_flow_runs = [*run.earlier_flow_runs, run.flow_run_id]
    run.flow_run_id = flow_run_id
    session.flush()
    return run.id


def is_repeat(session: Session, kind: str, partition_key: str, library: str, flow_run_id: str) -> bool:
    """Return whether another flow run completed the same work, with any version of the library."""
    done = (
        Run.kind == kind,
        Run.partition_key == partition_key,
        Run.status == "completed",
        func.split_part(Run.parameters["library"].astext, "@", 1) == library,
        Run.flow_run_id.is_distinct_from(flow_run_id),
    )
    return bool(session.scalar(select(exists().where(*done))))


def hold_run(session: Session, claim: RunClaim) -> None:
    """Prevent other processes from resuming the run until this transaction ends.

    Raises RunLost if one has, if the run is closed, and if a shard's night failed or was cancelled.
    """
    held = session.scalars(HOLD_RUNS, _values_of(claim) | {"night": claim.night})
    if set(held) != {claim.id, claim.writes_as}:
        raise _lost(session, claim)


def _lost(session: Session, claim: RunClaim) -> RunLost:
    run, night = get_run(session, claim.id), get_run(session, claim.writes_as)
    return RunLost(
        f"run {run.id} is {run.status} at attempt {run.attempts}, this process is attempt {claim.attempt}"
        + (f" for night {night.id}, which is {night.status}" if claim.night else "")
        + f": {_why_lost(run, claim)}"
    )


def _why_lost(run: RecordedRun, claim: RunClaim) -> str:
    """Return what became of the run, and what to do. A process that is told to end closes its own run."""
    if run.attempts != claim.attempt:
        return (
            "another process took it over. Nothing more is written here; run again if that one did not finish"
        )
    closed = "its night was given up" if run.status == "running" else f"it was closed as {run.status}"
    return f"{closed} while this was under way, which is not written; the next run does it again"


def shard_counts(session: Session, night: UUID) -> Counter[str]:
    """Return the sum of the counts of a night's shards, over all their attempts."""
    counts = session.scalars(select(Run.counts).where(Run.parameters["night"].astext == str(night)))
    return sum(map(Counter, counts), Counter())


def save_counts(
    session: Session, claim: RunClaim, counts: Mapping[str, int], figures: Mapping[str, float] | None = None
) -> None:
    """Replace the counts and figures of a run in progress. Raises RunLost if another process has it."""
    values = {"new_counts": dict(counts), "new_figures": dict(figures or {})}
    _require_changed(session, claim, session.scalar(SAVE_COUNTS, _values_of(claim) | values))


def finish_run(
    session: Session,
    claim: RunClaim,
    counts: Mapping[str, int],
    status: FinalStatus,
    summary: Mapping[str, Any] | None = None,
    figures: Mapping[str, float] | None = None,
) -> None:
    """Close a run with counts, figures and summary. Raises RunLost if another process has it."""
    closed = {"status": status, "counts": dict(counts), "summary": summary, "finished_at": func.now()}
    _update(session, claim, **closed, figures=dict(figures or {}))


def _update(session: Session, claim: RunClaim, **values: Any) -> None:
    change = update(Run).where(IS_CLAIMED).values(values).returning(Run.id)
    _require_changed(session, claim, session.scalar(change, _values_of(claim)))


def _values_of(claim: RunClaim) -> dict[str, object]:
    """Return the parameters of IS_CLAIMED."""
    return {"claimed_run": claim.id, "claimed_attempt": claim.attempt}


def _require_changed(session: Session, claim: RunClaim, changed: UUID | None) -> None:
    if changed is None:
        raise _lost(session, claim)


def get_run(session: Session, run_id: UUID) -> RecordedRun:
    """Return a run. Raises RunNotFound."""
    columns = [getattr(Run, field.name) for field in fields(RecordedRun)]
    row = session.execute(select(*columns).where(Run.id == run_id)).one_or_none()
    if row is None:
        raise RunNotFound(f"there is no run {run_id}: its page, and the column run of the views, have the id")
    return RecordedRun(*row)


def running_partitions(session: Session) -> dict[UUID, str]:
    """Return the partitions of the runs that are not closed, by run. The process of a run may be gone."""
    return dict(
        session.execute(select(Run.id, Run.partition_key).where(Run.status == "running")).tuples().all()
    )


def last_parameters(session: Session, kind: str, library: str) -> Mapping[str, Any] | None:
    """Return the parameters of the last run of a kind for NAME@VERSION, however it ended, if there is one."""
    stored = select(Run.parameters).where(Run.kind == kind, Run.parameters["library"].astext == library)
    return session.scalars(stored.order_by(Run.started_at.desc()).limit(1)).one_or_none()


def asker_of(session: Session, run_id: UUID) -> str | None:
    """Return who asked for a run, None for one from before that was recorded."""
    return session.scalar(select(Run.asked_by).where(Run.id == run_id))


def find_runs(session: Session, ids: Collection[UUID]) -> list[RecordedRun]:
    """Return the runs with one of these ids, their own or that of one of their flow runs, newest first."""
    columns = [getattr(Run, field.name) for field in fields(RecordedRun)]
    flow_runs = list(map(str, ids))
    is_meant = or_(Run.id.in_(ids), Run.flow_run_id.in_(flow_runs), Run.earlier_flow_runs.overlap(flow_runs))
    found = session.execute(select(*columns).where(is_meant).order_by(Run.started_at.desc()))
    return [RecordedRun(*row) for row in found]
