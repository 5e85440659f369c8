"""Backfill of missed or partly done nights: all days are planned first, and only unfinished ones are run.

A night may make up for earlier days by itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from db.engine import session_scope
from db.library_names import split_library_name
from db.run_history import unfinished_days
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.plan import NightPlan, Planner
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.verdict import Distrusted, DoubtfulNight, NoClips
from flows.pipeline.runtime.resources import Runtime


class BackfillFailed(RuntimeError):
    """Some days failed."""


FAILURES: Mapping[str, tuple[type[Exception], str]] = {
    "failed": (BackfillFailed, "failed; run the range again, only what is missing is done"),
    "doubtful": (DoubtfulNight, "are doubtful; what they wrote stays"),
    "no clips": (NoClips, "have no clips; check the prefix, least_clips 0 allows such days"),
}
"""Statuses with which a backfill fails, the worst first: the error and the end of its sentence."""


@dataclass(frozen=True)
class DayOutcome:
    """The outcome of a day. `plan` is None if planning failed."""

    partition: Partition
    plan: NightPlan | None
    error: Exception | None = None

    @property
    def status(self) -> str:
        """The outcome in words."""
        if self.has_no_clips:
            return "no clips"
        if self.error is not None:
            return "doubtful" if isinstance(self.error, Distrusted) else "failed"
        return "nothing missing" if self.plan is None or self.plan.is_done else "done"

    @property
    def has_no_clips(self) -> bool:
        """Whether no clips of this day are listed."""
        is_planned_so = self.plan is not None and self.plan.is_empty and self.error is None
        return is_planned_so or isinstance(self.error, NoClips)


def days_to_make_up(
    runtime: Runtime, kind: str, partition: Partition, library: str, most_days: int
) -> list[date]:
    """Return the days of a series of nights that no run completed. A night without a day has none."""
    if partition.day is None:
        return []
    name, _ = split_library_name(library)
    with session_scope(runtime.engine) as session:
        return unfinished_days(session, kind, partition.prefix, name, partition.day, most_days)


def backfill(
    labelings: Labelings, days: Iterable[Partition], run_day: Callable[[Partition], object]
) -> list[DayOutcome]:
    """Run the unfinished days one after another. A day that fails does not stop the others."""
    planner = Planner(labelings)
    planned = [_plan(planner, day) for day in days]
    return [_run(outcome, run_day) for outcome in planned]


def _plan(planner: Planner, day: Partition) -> DayOutcome:
    try:
        return DayOutcome(day, planner.plan(day))
    except Exception as error:
        return DayOutcome(day, None, error)


def _run(outcome: DayOutcome, run_day: Callable[[Partition], object]) -> DayOutcome:
    if outcome.plan is None or outcome.plan.is_done:
        return outcome
    try:
        run_day(outcome.partition)
    except Exception as error:
        return replace(outcome, error=error)
    return outcome


def raise_failures(outcomes: Sequence[DayOutcome], least_clips: int = 1) -> None:
    """Raise the worst of BackfillFailed, DoubtfulNight and NoClips, with the days of each kind."""
    statuses = {outcome.status for outcome in outcomes} - (set() if least_clips else {"no clips"})
    if worst := [status for status in FAILURES if status in statuses]:
        raise FAILURES[worst[0]][0](". ".join(_sentence(outcomes, status) for status in worst))


def _sentence(outcomes: Sequence[DayOutcome], status: str) -> str:
    """Return a sentence with the number of days of a status, and the days by reason."""
    matching = [outcome for outcome in outcomes if outcome.status == status]
    days = defaultdict(list)
    for outcome in matching:
        days["" if outcome.has_no_clips else f": {outcome.error}"].append(str(outcome.partition.day))
    by_reason = "; ".join(f"{', '.join(together)}{reason}" for reason, together in days.items())
    return f"{len(matching)} of {len(outcomes)} days {FAILURES[status][1]}. {by_reason}"
