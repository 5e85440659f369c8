"""One recorded run of a partition: held by a lock, begun or taken up again, closed with its counts."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from time import monotonic
from typing import Any
from uuid import UUID

from db.engine import session_scope
from db.locks import partition_lock
from db.runs import FinalStatus, finish_run, start_run
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.version import code_version


@dataclass
class OpenRun:
    """A run under way; stages add to its counts. `seconds` is how long it took, once it is closed."""

    id: UUID
    counts: Counts = field(default_factory=Counts)
    manifest: str | None = None
    summary: Mapping[str, Any] | None = None
    seconds: float = 0.0

    def count(self, stage: str, counted: Iterable[Counts]) -> None:
        """Adds what the batches of a stage counted, as `stage.name`."""
        for counts in counted:
            self.counts.update({f"{stage}.{name}": number for name, number in counts.items()})


@contextmanager
def recorded_run(
    runtime: Runtime,
    kind: str,
    partition: str,
    parameters: Mapping[str, Any],
    *,
    day: date | None = None,
    flow_run_id: str | None = None,
) -> Iterator[OpenRun]:
    """Holds the partition, and closes the run as completed, failed or cancelled.

    A run whose process was killed stays open, and the next one of equal parameters takes it up: it finds what
    is left by unique keys, and writes under the same run id. Raises PartitionBusy when another process has
    the partition.
    """
    key = f"{kind} {partition}"
    with partition_lock(runtime.database_url, key):
        with session_scope(runtime.engine) as session:
            run_id = start_run(
                session,
                kind,
                key,
                parameters=parameters,
                day=day,
                flow_run_id=flow_run_id,
                code_version=code_version(),
            )
        run, begun = OpenRun(run_id), monotonic()
        try:
            yield run
        except BaseException as error:
            _finish(runtime, run, "failed" if isinstance(error, Exception) else "cancelled")
            raise
        run.seconds = monotonic() - begun
        _finish(runtime, run, "completed")


def _finish(runtime: Runtime, run: OpenRun, status: FinalStatus) -> None:
    with session_scope(runtime.engine) as session:
        finish_run(session, run.id, run.counts, status, run.summary)
