"""Recorded runs: locked by partition, begun or taken up again, and closed with their counts."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from threading import Lock
from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.engine import session_scope
from db.explorer.address import keep_address
from db.libraries import LibraryNotFound, get_library
from db.library_names import split_library_name
from db.locks import PartitionLock, partition_lock
from db.runs import FinalStatus, RunClaim, RunLost, asker_of, finish_run, hold_run, save_counts, start_run
from flows.pipeline.runs.asker import asker
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.outage import Breaker
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import Figures

logger = logging.getLogger(__name__)


@dataclass
class OpenRun:
    """A run under way, to which stages add counts. `seconds` is its duration, once it is closed.

    `parameters` are those of the run's row, fixed by its first attempt; counts add up over all attempts.
    `shard_counts` are those of its shards, which are added when it is closed. `figures` are its own only.
    """

    claim: RunClaim
    lock: PartitionLock
    engine: Engine
    parameters: Mapping[str, Any] = field(default_factory=dict)
    breaker: Breaker = field(default_factory=Breaker)
    counts: Counts = field(default_factory=Counts)
    shard_counts: Counts = field(default_factory=Counts)
    figures: Figures = field(default_factory=Figures)
    manifest: str | None = None
    summary: Mapping[str, Any] | None = None
    seconds: float = 0.0
    _counting: Lock = field(default_factory=Lock, repr=False)

    @property
    def id(self) -> UUID:
        """The id of the run."""
        return self.claim.id

    def count(self, stage: str, counts: Counts) -> None:
        """Add the counts of a stage to those of the run, as `stage.name`, and save them in its row."""
        for name, number in counts.items():
            self.figures.add("clips", stage, name, number)
        with self._counting:
            self.counts.update({f"{stage}.{name}": number for name, number in counts.items()})
            self.breaker.run(self._save_counts, ends_outage=False)

    def _save_counts(self) -> None:
        with session_scope(self.engine) as session:
            save_counts(session, self.claim, self.counts, self.figures.stored())


@contextmanager
def run_session(runtime: Runtime, claim: RunClaim) -> Iterator[Session]:
    """Open a transaction in which a run writes. Raises RunLost if another process has taken over the run."""
    with session_scope(runtime.engine) as session:
        hold_run(session, claim)
        yield session


@contextmanager
def recorded_run(
    runtime: Runtime,
    kind: str,
    partition: str,
    parameters: Mapping[str, Any],
    *,
    libraries: Sequence[str] = (),
    night: UUID | None = None,
    day: date | None = None,
    flow_run_id: str | None = None,
) -> Iterator[OpenRun]:
    """Hold the partition, and close the run as completed, failed or cancelled.

    A run whose process was killed stays open, and the next run of equal parameters takes it up: it finds what
    is left by unique keys, and writes under the same run id. `libraries` are the parameters that name a
    library: a bare NAME means the version that was in use when the run began. Raises PartitionBusy if another
    process has the partition.
    """
    key = f"{kind} {partition}"
    with partition_lock(runtime.database_url, key) as lock:
        with session_scope(runtime.engine) as session:
            keep_address(session, runtime.settings.explore_url)
            started = start_run(
                session,
                kind,
                key,
                parameters=_with_versions(session, parameters, libraries),
                asked=parameters if libraries else None,
                day=day,
                flow_run_id=flow_run_id,
                code_version=code_version(),
                asked_by=asker() if night is None else asker_of(session, night),
                price_per_hour=runtime.settings.price_per_hour,
            )
        claim = RunClaim(started.id, started.attempts, night)
        breaker = Breaker(runtime.settings.outage_timeout)
        run = OpenRun(
            claim,
            lock,
            runtime.engine,
            started.parameters,
            breaker,
            Counts(started.counts),
            figures=Figures(started.figures),
        )
        begun = monotonic()
        try:
            yield run
        except BaseException as error:
            _close(run, "failed" if isinstance(error, Exception) else "cancelled")
            raise
        run.seconds = monotonic() - begun
        run.counts.update(run.shard_counts)
        breaker.run(lambda: _finish(run, "completed"))


def _with_versions(
    session: Session, parameters: Mapping[str, Any], libraries: Sequence[str]
) -> Mapping[str, Any]:
    """Return the parameters with NAME@VERSION for each bare name of a known library."""
    fixed = {}
    for name in libraries:
        bare, version = split_library_name(parameters[name])
        if version is None:
            with suppress(LibraryNotFound):
                fixed[name] = f"{bare}@{get_library(session, bare).version}"
    return {**parameters, **fixed}


def _close(run: OpenRun, status: FinalStatus) -> None:
    """Finish a run that raised, and only log if that fails, since its own error must be reported.

    A lost run is finished by another process. One that the database did not let us close is taken up or
    closed by the next run of its partition.
    """
    run.counts.update(run.shard_counts)
    try:
        _finish(run, status)
    except (RunLost, DBAPIError) as error:
        logger.warning("run %s was not closed as %s: %s", run.id, status, error)


def _finish(run: OpenRun, status: FinalStatus) -> None:
    with session_scope(run.engine) as session:
        finish_run(session, run.claim, run.counts, status, run.summary, run.figures.stored())
