"""Replay of quarantined clips, after a fix elsewhere or with other limits."""

from collections.abc import Collection
from dataclasses import dataclass

from db.engine import session_scope
from db.quarantine import QuarantinedClip, open_quarantine, resolve
from db.runs import RunClaim
from flows.pipeline.nights.jobs import BatchRunner, ingest_place, tokenize_place
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

KIND = "replay-quarantine"


@dataclass(frozen=True)
class Replay:
    """A finished run and the clips that it replayed."""

    run: OpenRun
    uris: set[str]


def replay_place(
    runtime: Runtime,
    prefix: str,
    reasons: Collection[str],
    run_batches: BatchRunner,
    *,
    allow_loss: bool = False,
    flow_run_id: str | None = None,
) -> Replay:
    """Tokenize the quarantined clips of a place again, those of some reasons or all.

    The place is listed first, so that repaired objects are read. Open rows are closed and stay as history; a
    clip that still cannot be used gets a new row. Raises MostClipsLost as a night does.
    """
    place = canonical(prefix)
    parameters = {"reasons": sorted(reasons)}
    with recorded_run(runtime, KIND, place, parameters, flow_run_id=flow_run_id) as run:
        waiting = {row.uri for row in _chosen(runtime, place, reasons)}
        ingest_place(runtime, place, run, allow_loss=allow_loss)
        reopen(runtime, place, reasons, run.claim)
        run.count("replay", Counts(replayed=len(waiting)))
        tokenize_place(runtime, place, waiting, run, run_batches)
    return Replay(run, waiting)


def reopen(runtime: Runtime, place: str, reasons: Collection[str], run: RunClaim) -> None:
    """Close the open rows of a place, those of some reasons or all, so that their stages try again."""
    chosen = _chosen(runtime, place, reasons)
    with run_session(runtime, run) as session:
        for stage in {row.stage for row in chosen}:
            resolve(session, stage, [row.clip_id for row in chosen if row.stage == stage])


def _chosen(runtime: Runtime, place: str, reasons: Collection[str]) -> list[QuarantinedClip]:
    with session_scope(runtime.engine) as session:
        rows = open_quarantine(session, place)
    return [row for row in rows if not reasons or row.reason in reasons]
