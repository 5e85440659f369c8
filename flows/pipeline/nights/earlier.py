"""The night before a night, and what changed since then."""

from dataclasses import dataclass
from uuid import UUID

from db.engine import session_scope
from db.night_change import NightChange, compare_nights
from db.run_history import CompletedRun, previous_run
from flows.pipeline.nights.summary import NightSummary
from flows.pipeline.runtime.resources import Runtime


@dataclass(frozen=True)
class EarlierNight:
    """The night before, its figures, and the change since then, if that is known."""

    run: CompletedRun
    summary: NightSummary
    change: NightChange | None = None

    @property
    def name(self) -> str:
        """The day of the night, or its start."""
        return str(self.run.day or f"{self.run.started_at:%Y-%m-%d %H:%M}")


def night_before(runtime: Runtime, run_id: UUID) -> EarlierNight | None:
    """Return the last completed night of the same prefix and library before a run, if any."""
    with session_scope(runtime.engine) as session:
        run = previous_run(session, run_id)
        if run is None or run.summary is None:
            return None
        return EarlierNight(run, NightSummary(**run.summary), compare_nights(session, run.id, run_id))
