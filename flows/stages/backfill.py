"""Nights that were missed, or done in part: all are planned first, and only what misses something is run."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from flows.stages.label import Labelling
from flows.stages.partition import Partition
from flows.stages.plan import NightPlan, Planner


class BackfillFailed(RuntimeError):
    """Some days could not be done."""


@dataclass(frozen=True)
class DayOutcome:
    """What became of a day. `plan` is None where even that failed."""

    partition: Partition
    plan: NightPlan | None
    error: Exception | None = None

    @property
    def status(self) -> str:
        """In a word."""
        if self.error is not None:
            return "failed"
        return "nothing missing" if self.plan is None or self.plan.is_done else "done"


def backfill(
    labelling: Labelling, days: Iterable[Partition], run_day: Callable[[Partition], object]
) -> list[DayOutcome]:
    """Runs the days that miss something, one after another; one that fails stops no other."""
    planner = Planner(labelling)
    planned = [_planned(planner, day) for day in days]
    return [_done(outcome, run_day) for outcome in planned]


def _planned(planner: Planner, day: Partition) -> DayOutcome:
    try:
        return DayOutcome(day, planner.plan(day))
    except Exception as error:
        return DayOutcome(day, None, error)


def _done(outcome: DayOutcome, run_day: Callable[[Partition], object]) -> DayOutcome:
    if outcome.plan is None or outcome.plan.is_done:
        return outcome
    try:
        run_day(outcome.partition)
    except Exception as error:
        return replace(outcome, error=error)
    return outcome


def raise_failures(outcomes: Sequence[DayOutcome]) -> None:
    """Raises BackfillFailed, naming the days that failed and why."""
    failed = [outcome for outcome in outcomes if outcome.error]
    if not failed:
        return
    days = defaultdict(list)
    for outcome in failed:
        days[str(outcome.error)].append(str(outcome.partition.day))
    reasons = "; ".join(f"{', '.join(together)}: {error}" for error, together in days.items())
    raise BackfillFailed(
        f"{len(failed)} of {len(outcomes)} days failed, the others are done. {reasons}. Run the range again: "
        "only what is missing is done"
    )
