"""Retraction of a run's answers, and its reversal. No rows are deleted."""

from functools import partial
from uuid import UUID

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.library_names import split_library_name
from db.locks import partition_lock
from db.retractions import has_answers, restore_run, retract_run
from db.runs import RecordedRun, get_run
from flows.pipeline.files.lake import refresh_lake
from flows.pipeline.nights.jobs import run_once
from flows.pipeline.reviews.learning import PROMOTE, put_back
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime

KIND = "undo-run"


def undo(runtime: Runtime, run_id: UUID, *, flow_run_id: str | None = None) -> OpenRun:
    """Retract the standing answers of a run, so that current answers are what they were before it.

    Undoing an undo-run restores the answers, except for work that was answered again in between. With the
    answers of a promoted library version goes its use: the version before is in use again. The run's
    partition is held, so a run under way is not undone. Raises RunNotFound, PartitionBusy, and ValueError for
    a run that wrote no answers.
    """
    with session_scope(runtime.engine) as session:
        answered, restores = _answered(session, run_id)
    recorded = recorded_run(runtime, KIND, str(run_id), {"run": str(run_id)}, flow_run_id=flow_run_id)
    with recorded as run, partition_lock(runtime.database_url, answered.partition_key):
        run.count("undo", _change(runtime, answered.id, restores, run))
        if answered.kind == PROMOTE:
            put_back(runtime, answered.parameters, run, again=restores)
        if "library" in answered.parameters:
            library, _ = split_library_name(answered.parameters["library"])
            run_once(run, "lake", partial(refresh_lake, runtime, run.id, library))
    return run


def _answered(session: Session, run_id: UUID) -> tuple[RecordedRun, bool]:
    """Return the run that wrote the answers, and whether to restore them: an undo-run names another run."""
    run, restores = get_run(session, run_id), False
    if "night" in run.parameters:  # a shard, whose answers are its night's
        run = get_run(session, UUID(run.parameters["night"]))
    while run.kind == KIND:
        run, restores = get_run(session, UUID(run.parameters["run"])), not restores
    if run.kind != PROMOTE and not has_answers(session, run.id):
        raise ValueError(f"run {run.id} ({run.kind}) wrote no answers: there is nothing to undo")
    return run, restores


def _change(runtime: Runtime, answered: UUID, restores: bool, run: OpenRun) -> Counts:
    with run_session(runtime, run.claim) as session:
        if restores:
            return Counts(restored=restore_run(session, answered))
        return Counts(retracted=retract_run(session, answered, run.id))
