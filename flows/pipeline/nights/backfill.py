"""Nights that were missed, or done in part: all are planned first, and only what misses something is run."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flows.pipeline.labeling.label import Labeling
from flows.pipeline.nights.plan import NightPlan, Planner
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.verdict import Distrusted, DoubtfulNight, NoClips


class BackfillFailed(RuntimeError):
    """Some days could not be done."""


BAD: Mapping[str, tuple[type[Exception], str]] = {
    "failed": (BackfillFailed, "failed; run the range again, only what is missing is done"),
    "doubtful": (DoubtfulNight, "are doubtful; what they wrote stays"),
    "no clips": (NoClips, "have no clips; check the prefix, least_clips 0 allows such days"),
}
"""Statuses with which a backfill does not pass, the worst first."""


@dataclass(frozen=True)
class DayOutcome:
    """What became of a day. `plan` is None where even that failed."""

    partition: Partition
    plan: NightPlan | None
    error: Exception | None = None

    @property
    def status(self) -> str:
        """In a word."""
        if self.has_no_clips:
            return "no clips"
        if self.error is not None:
            return "doubtful" if isinstance(self.error, Distrusted) else "failed"
        return "nothing missing" if self.plan is None or self.plan.is_done else "done"

    @property
    def has_no_clips(self) -> bool:
        """Whether none are listed of this day."""
        is_planned_so = self.plan is not None and self.plan.is_empty and self.error is None
        return is_planned_so or isinstance(self.error, NoClips)


def backfill(
    labeling: Labeling, days: Iterable[Partition], run_day: Callable[[Partition], object]
) -> list[DayOutcome]:
    """Runs the days that miss something, one after another; one that fails stops no other."""
    planner = Planner(labeling)
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


def raise_failures(outcomes: Sequence[DayOutcome], least_clips: int = 1) -> None:
    """Raise BackfillFailed, DoubtfulNight or NoClips, whatever is worst, naming the days of each kind."""
    statuses = {outcome.status for outcome in outcomes} - (set() if least_clips else {"no clips"})
    if worst := [status for status in BAD if status in statuses]:
        raise BAD[worst[0]][0](". ".join(_sentence(outcomes, status) for status in worst))


def _sentence(outcomes: Sequence[DayOutcome], status: str) -> str:
    """Say how many days are so and which, those of one reason together."""
    these = [outcome for outcome in outcomes if outcome.status == status]
    days = defaultdict(list)
    for outcome in these:
        days["" if outcome.has_no_clips else f": {outcome.error}"].append(str(outcome.partition.day))
    which = "; ".join(f"{', '.join(together)}{reason}" for reason, together in days.items())
    return f"{len(these)} of {len(outcomes)} days {BAD[status][1]}. {which}"
