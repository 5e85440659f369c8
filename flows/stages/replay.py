"""Quarantined clips get another try: after a fix outside, or with other limits."""

from collections.abc import Collection
from dataclasses import dataclass

from db.quarantine import open_quarantine, resolve
from db.runs import RunClaim
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.job import Each, tokenize_place
from flows.stages.run import OpenRun, recorded_run, run_session
from flows.storage.location import canonical

KIND = "replay-quarantine"


@dataclass(frozen=True)
class Replay:
    """A finished run and the clips that it tried again."""

    run: OpenRun
    uris: set[str]


def replay_place(
    runtime: Runtime, prefix: str, reasons: Collection[str], each: Each, *, flow_run_id: str | None = None
) -> Replay:
    """Tokenizes the quarantined clips of a place again, those of some reasons or all.

    Their rows are closed and stay as history; a clip that still cannot be used gets a new one.
    """
    place = canonical(prefix)
    parameters = {"reasons": sorted(reasons)}
    with recorded_run(runtime, KIND, place, parameters, flow_run_id=flow_run_id) as run:
        uris = reopen(runtime, place, reasons, run.claim)
        run.count("replay", [Counts(replayed=len(uris))])
        tokenize_place(runtime, place, uris, run, each)
    return Replay(run, uris)


def reopen(runtime: Runtime, place: str, reasons: Collection[str], run: RunClaim) -> set[str]:
    """Closes the open rows of a place, for some reasons or all; the uris of their clips."""
    with run_session(runtime, run) as session:
        rows = open_quarantine(session, place)
        chosen = [row for row in rows if not reasons or row.reason in reasons]
        for stage in {row.stage for row in chosen}:
            resolve(session, stage, [row.clip_id for row in chosen if row.stage == stage])
    return {row.uri for row in chosen}
