"""A night in figures, as they stand at its end, and the night before it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from uuid import UUID

from db.engine import session_scope
from db.nights import CompletedRun, run_before
from flows.runtime import Runtime
from flows.stages.label import NEIGHBOURS
from flows.stages.report import ClipAnswer

WORK = (
    ("tokenize.tokenized", "tokenize.same_bytes", "tokenize.quarantined"),
    ("label.labeled",),
)
"""What a run counts of the clips that it worked on, stage by stage."""


@dataclass(frozen=True)
class NightSummary:
    """What the clips of a night were answered.

    `agreement` has, by neighbour, the share of answers that say the same, of clips that the library does not
    have and whose neighbour is known. `mean_margin` is None where nothing is answered.
    """

    labels: Mapping[str, int]
    uncertain: int
    mean_margin: float | None
    agreement: Mapping[str, float]
    quarantined: Mapping[str, int]

    @property
    def answered(self) -> int:
        """How many clips have an answer."""
        return sum(self.labels.values())


def summarize(clips: Sequence[ClipAnswer]) -> NightSummary:
    """The figures of a night's clips."""
    answers = [clip.answer for clip in clips if clip.answer]
    held_out = [answer for answer in answers if not answer.is_demonstration]
    said = {
        name: [answer.label == answer.baselines[name] for answer in held_out if name in answer.baselines]
        for name in NEIGHBOURS
    }
    return NightSummary(
        labels=_sorted(answer.label for answer in answers),
        uncertain=sum(clip.status == "uncertain" for clip in clips),
        mean_margin=fmean(answer.margin for answer in answers) if answers else None,
        agreement={name: fmean(same) for name, same in said.items() if same},
        quarantined=_sorted(clip.reason for clip in clips if clip.reason and not clip.answer),
    )


def _sorted(names: Iterable[str]) -> dict[str, int]:
    """How often each is there, the most frequent first; of equals by name."""
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


@dataclass(frozen=True)
class EarlierNight:
    """The night before, and what it was answered."""

    run: CompletedRun
    summary: NightSummary

    @property
    def name(self) -> str:
        """Its day, else when it began."""
        return str(self.run.day or f"{self.run.started_at:%Y-%m-%d %H:%M}")


def night_before(runtime: Runtime, run_id: UUID) -> EarlierNight | None:
    """The last completed night of the same prefix and library before a run, None for the first."""
    with session_scope(runtime.engine) as session:
        run = run_before(session, run_id)
    return None if run is None or run.summary is None else EarlierNight(run, NightSummary(**run.summary))


def moved(now: NightSummary, then: NightSummary) -> float | None:
    """The share of clips that would need another label for the two nights to have labels alike."""
    if not now.answered or not then.answered:
        return None
    names = {*now.labels, *then.labels}
    return sum(abs(share(now, name) - share(then, name)) for name in names) / 2


def share(night: NightSummary, label: str) -> float:
    """The share of a night's answers that have this label."""
    return night.labels.get(label, 0) / night.answered if night.answered else 0.0


def clips_worked(counts: Mapping[str, int]) -> int:
    """How many clips a run worked on, whether it tokenized them, answered them or both."""
    return max(sum(counts.get(name, 0) for name in stage) for stage in WORK)
