"""A night in figures, as they stand at its end, and the night before it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from uuid import UUID

from db.engine import session_scope
from db.night_change import NightChange, compare_nights
from db.nights import CompletedRun, previous_run
from db.predictions import Answer
from flows.pipeline.labeling.label import NEIGHBOR_BASELINES
from flows.pipeline.labeling.report import ClipAnswer
from flows.pipeline.runtime.resources import Runtime

WORK = (
    ("tokenize.tokenized", "tokenize.same_bytes", "tokenize.quarantined"),
    ("label.labeled", "label.quarantined"),
)
"""What a run counts of the clips that it worked on, stage by stage."""


@dataclass(frozen=True)
class NightSummary:
    """What the clips of a night were answered.

    `agreement` has, by neighbour, the share of answers that say the same, of clips that the library does not
    have and whose neighbour is known. `mean_margin` is None where nothing is answered. `doubts` are the
    figures beyond the bounds of the place.
    """

    labels: Mapping[str, int]
    uncertain: int
    mean_margin: float | None
    agreement: Mapping[str, float]
    quarantined: Mapping[str, int]
    doubts: Sequence[str] = field(default_factory=list)

    @property
    def clips(self) -> int:
        """How many clips are answered or quarantined."""
        return self.answered + sum(self.quarantined.values())

    @property
    def answered(self) -> int:
        """How many clips have an answer."""
        return sum(self.labels.values())


def summarize(clips: Iterable[ClipAnswer]) -> NightSummary:
    """The figures of a night's clips, which are gone through once: memory may not hold them all."""
    labels, reasons = Counter[str](), Counter[str]()
    margins, same, uncertain = list[float](), defaultdict[str, list[bool]](list), 0
    for clip in clips:
        if clip.answer:
            labels[clip.answer.label] += 1
            margins.append(clip.answer.margin)
            uncertain += clip.status == "uncertain"
            for name in _comparable(clip.answer):
                same[name].append(clip.answer.label == clip.answer.baselines[name])
        elif clip.reason:
            reasons[clip.reason] += 1
    return NightSummary(
        labels=_sorted(labels),
        uncertain=uncertain,
        mean_margin=fmean(margins) if margins else None,
        agreement={name: fmean(same[name]) for name in NEIGHBOR_BASELINES if name in same},
        quarantined=_sorted(reasons),
    )


def _comparable(answer: Answer) -> Iterator[str]:
    """The neighbours that say something of a clip; of a demonstration they know the answer."""
    return (name for name in NEIGHBOR_BASELINES if name in answer.baselines and not answer.is_demonstration)


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent name first; of equals by name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


@dataclass(frozen=True)
class EarlierNight:
    """The night before, what it was answered, and what changed since; None where that is not known."""

    run: CompletedRun
    summary: NightSummary
    change: NightChange | None = None

    @property
    def name(self) -> str:
        """Its day, else when it began."""
        return str(self.run.day or f"{self.run.started_at:%Y-%m-%d %H:%M}")


def night_before(runtime: Runtime, run_id: UUID) -> EarlierNight | None:
    """The last completed night of the same prefix and library before a run, None for the first."""
    with session_scope(runtime.engine) as session:
        run = previous_run(session, run_id)
        if run is None or run.summary is None:
            return None
        return EarlierNight(run, NightSummary(**run.summary), compare_nights(session, run.id, run_id))


def night_line(night: NightSummary, clips: int, counts: Mapping[str, int]) -> str:
    """Return a night in a line whose numbers add up to its clips."""
    aside = sum(night.quarantined.values())
    left = clips - night.answered - aside
    line = f"{night.answered - night.uncertain:,} labeled, {aside:,} set aside, {night.uncertain:,} doubtful"
    line += f", {left:,} left" if left else ""
    return line if clips_worked(counts) else f"nothing new: {line}"


def shift(now: Mapping[str, int], then: Mapping[str, int]) -> float | None:
    """Return by how much the shares of labels differ, 0 to 1; None where one has no label."""
    if not now or not then:
        return None
    return sum(abs(share(now, name) - share(then, name)) for name in {*now, *then}) / 2


def share(labels: Mapping[str, int], label: str) -> float:
    """Return the share of the answers that have this label."""
    total = sum(labels.values())
    return labels.get(label, 0) / total if total else 0.0


def clips_worked(counts: Mapping[str, int]) -> int:
    """How many clips a run worked on, whether it tokenized them, answered them or both."""
    return max(sum(counts.get(name, 0) for name in stage) for stage in WORK)
