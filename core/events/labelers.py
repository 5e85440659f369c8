"""Labelers of windows: a score from 0 to 1 for each label, or for none where nothing known is heard.

Scores are not calibrated: the answers of known label that a library has are of whole clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.events.bound import MembershipBound, fit_bound
from core.events.windows import ClipWindows, WindowGrid, audible_windows
from core.in_context.baselines import FloatArray
from core.in_context.choosing.zero_shot import WordOverlap, class_weights
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler, unit_rows

NO_LABEL_SCORE = 0.05
"""Score of a class that none of the labels is like: a label's classes have to be likelier than that."""


class WindowLabeler(Protocol):
    """Scores the windows of a clip by labels that were given once, in alphabetical order."""

    def scores(self, clip: ClipWindows) -> FloatArray:
        """Return (windows, labels); zeros where a window is silent."""


@dataclass(frozen=True, eq=False)
class ShownWindows:
    """A demonstration with its label; its windows have vectors."""

    clip: ClipWindows
    label: str


class FewShotWindows:
    """A few-shot labeler on vectors, which takes a window for one of its labels only near a demonstration.

    A demonstration is shown as the mean of its windows that are not silent.
    """

    def __init__(
        self,
        kind: type[ClassMeanLabeler] | type[LogisticLabeler],
        labels: Sequence[str],
        demonstrations: Sequence[ShownWindows],
        grid: WindowGrid,
    ) -> None:
        self._grid = grid
        heard = [(heard_vectors(one.clip, grid), one.label) for one in demonstrations]
        shown = [label for _, label in heard]
        self._labeler = kind(labels, shown, np.stack([vectors.mean(axis=0) for vectors, _ in heard]))
        self._bound: MembershipBound = fit_bound([(unit_rows(vectors), label) for vectors, label in heard])

    def scores(self, clip: ClipWindows) -> FloatArray:
        """Return (windows, labels): the labeler's probability, times that of being near enough."""
        assert clip.vectors is not None
        near = self._bound.membership(unit_rows(clip.vectors)) * audible_windows(clip, self._grid)
        likely: FloatArray = self._labeler.probabilities(clip.vectors) * near[:, None]
        return likely


class ZeroShotWindows:
    """The labels whose text is most like the classes that a tagger scores; takes no demonstration."""

    def __init__(
        self,
        labels: Sequence[str],
        classes: Sequence[str],
        grid: WindowGrid,
        synonyms: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._grid = grid
        self._weights = class_weights(WordOverlap(synonyms or {}), labels, classes)

    def scores(self, clip: ClipWindows) -> FloatArray:
        """Return (windows, labels): shares of the weighted scores, with a class of no label among them."""
        assert clip.scores is not None
        likely = clip.scores @ self._weights.T
        shares = likely / (likely.sum(axis=1, keepdims=True) + NO_LABEL_SCORE)
        heard: FloatArray = shares * audible_windows(clip, self._grid)[:, None]
        return heard


def heard_vectors(clip: ClipWindows, grid: WindowGrid) -> FloatArray:
    """Return the vectors of the windows that are not silent, or all if all are."""
    assert clip.vectors is not None
    heard = audible_windows(clip, grid)
    return clip.vectors[heard] if heard.any() else clip.vectors
