"""Figures of a night at its end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from db.predictions import Answer
from flows.pipeline.labeling.label import NEIGHBOR_BASELINES
from flows.pipeline.labeling.report import ClipAnswer
from flows.pipeline.libraries.by_label import NONE_OF_THEM

WORK_COUNTS = (
    ("tokenize.tokenized", "tokenize.same_bytes", "tokenize.quarantined"),
    ("label.labeled", "label.quarantined"),
)
"""The counts of a stage that add up to the clips it worked on, for each stage."""


@dataclass(frozen=True)
class NightSummary:
    """The answers of a night in figures.

    `agreement` is, by baseline, the share of equal answers among clips that are not demonstrations and have
    that baseline, and `by_labeler` the same by labeler. `mean_margin` is None without answers. `unknown`
    clips are too far from every demonstration: their labels count nowhere else. `doubts` are the figures
    beyond the bounds of the place. Where a clip may have several labels, `with_labels` is the number of
    clips with an answer.
    """

    labels: Mapping[str, int]
    uncertain: int
    mean_margin: float | None
    agreement: Mapping[str, float]
    quarantined: Mapping[str, int]
    doubts: Sequence[str] = field(default_factory=list)
    unknown: int = 0
    with_labels: int | None = None
    by_labeler: Mapping[str, float] = field(default_factory=dict)

    @property
    def clips(self) -> int:
        """The number of clips that are answered, unknown or quarantined."""
        return self.answered + self.unknown + sum(self.quarantined.values())

    @property
    def answered(self) -> int:
        """The number of clips with a label."""
        return sum(self.labels.values()) if self.with_labels is None else self.with_labels


def summarize(clips: Iterable[ClipAnswer]) -> NightSummary:
    """Return the figures of a night's clips, which are read once, since they may not fit in memory."""
    labels, reasons = Counter[str](), Counter[str]()
    margins, same, uncertain, unknown = list[float](), defaultdict[str, list[bool]](list), 0, 0
    by_labeler = defaultdict[str, list[bool]](list)
    is_by_label = False
    for clip in clips:
        is_by_label = is_by_label or bool(clip.by_label)
        if clip.status == "unknown":
            unknown += 1
        elif clip.answer:
            labels.update(clip.labels or [NONE_OF_THEM])
            margins.append(clip.answer.margin)
            uncertain += clip.status == "uncertain"
            for name in _comparable(clip.answer):
                same[name].append(clip.answer.label == clip.answer.baselines[name])
            for name, guess in _others(clip.answer):
                by_labeler[name].append(clip.answer.label == guess["label"])
        elif clip.reason:
            reasons[clip.reason] += 1
    return NightSummary(
        labels=_sorted(labels),
        uncertain=uncertain,
        mean_margin=fmean(margins) if margins else None,
        agreement={name: fmean(same[name]) for name in NEIGHBOR_BASELINES if name in same},
        quarantined=_sorted(reasons),
        unknown=unknown,
        with_labels=len(margins) if is_by_label else None,
        by_labeler={name: fmean(answers) for name, answers in by_labeler.items()},
    )


def _others(answer: Answer) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return the guesses of the labelers that did not answer. A demonstration has none."""
    guesses = {} if answer.is_demonstration else answer.baselines.get("labelers", {})
    return ((name, guess) for name, guess in guesses.items() if name != answer.labeler)


def _comparable(answer: Answer) -> Iterator[str]:
    """Return the baselines to compare with. A demonstration has none, since it is its own neighbor."""
    return (name for name in NEIGHBOR_BASELINES if name in answer.baselines and not answer.is_demonstration)


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    """Sort counts by frequency, then name."""
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def night_line(night: NightSummary, clips: int, counts: Mapping[str, int]) -> str:
    """Return a night as a line whose numbers add up to its clips."""
    aside = sum(night.quarantined.values())
    left = clips - night.answered - night.unknown - aside
    line = f"{night.answered - night.uncertain:,} labeled, {aside:,} set aside, {night.uncertain:,} doubtful"
    line += f", {night.unknown:,} unknown" if night.unknown else ""
    line += f", {left:,} left" if left else ""
    return line if clips_worked(counts) else f"nothing new: {line}"


def shift(now: Mapping[str, int], then: Mapping[str, int]) -> float | None:
    """Return the difference between the shares of labels, 0 to 1; None if one side has no labels."""
    if not now or not then:
        return None
    return sum(abs(share(now, name) - share(then, name)) for name in {*now, *then}) / 2


def share(labels: Mapping[str, int], label: str) -> float:
    """Return the share of the answers that have this label."""
    total = sum(labels.values())
    return labels.get(label, 0) / total if total else 0.0


def clips_worked(counts: Mapping[str, int]) -> int:
    """Count the clips that a run tokenized, answered or both."""
    return max(sum(counts.get(name, 0) for name in stage) for stage in WORK_COUNTS)
