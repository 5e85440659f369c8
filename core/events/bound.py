"""How near to a demonstration a window has to be to be taken for one of its labels.

The distance, 1 - cosine, is to the nearest window of a demonstration. The bound is where left-out
demonstrations have most of their own windows; with one demonstration of a label, which cannot be left out, it
is a share of the median distance between windows of different labels.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.in_context.baselines import FloatArray

COVERAGE = 0.9
"""Share of the windows of left-out demonstrations that are within the bound."""
PRIOR_SHARE = 0.9
"""The bound over the median distance between labels, where nothing can be left out."""
SHARPNESS = 6
"""The odds of being within the bound are the distance over the bound to the power of minus this."""
MAX_LEFT_OUT = 300
"""Demonstrations that are left out to find the bound; more take long and change little."""

Shown = tuple[FloatArray, str]
"""Windows of a demonstration, with rows of length 1, and its label."""


@dataclass(frozen=True, eq=False)
class MembershipBound:
    """The farthest distance from the windows shown, (windows, D) with rows of length 1."""

    shown: FloatArray
    distance: float

    def membership(self, windows: FloatArray) -> FloatArray:
        """Return for each window, a row of length 1, the probability that it is near enough, 0 to 1."""
        share = np.maximum(_distances(windows, self.shown), 0.0) / max(self.distance, 1e-9)
        near: FloatArray = 1 / (1 + np.minimum(share, 1e9) ** SHARPNESS)
        return near


def fit_bound(demonstrations: Sequence[Shown]) -> MembershipBound:
    """Return the bound of these demonstrations."""
    every = np.concatenate([windows for windows, _ in demonstrations])
    left_out = _left_out_distances(demonstrations)
    distance = np.quantile(left_out, COVERAGE) if len(left_out) else PRIOR_SHARE * _typical(demonstrations)
    return MembershipBound(every, float(distance))


def _left_out_distances(demonstrations: Sequence[Shown]) -> FloatArray:
    """Return the distances of windows from other demonstrations, where their label has another one."""
    counts = Counter(label for _, label in demonstrations)
    owners = np.repeat(np.arange(len(demonstrations)), [len(windows) for windows, _ in demonstrations])
    every = np.concatenate([windows for windows, _ in demonstrations])
    again = [at for at, (_, label) in enumerate(demonstrations) if counts[label] > 1][:MAX_LEFT_OUT]
    parts = [_distances(demonstrations[at][0], every[owners != at]) for at in again]
    return np.concatenate([np.empty(0), *parts])


def _typical(demonstrations: Sequence[Shown]) -> float:
    """Return the median distance between windows of different labels."""
    pairs = [
        (1 - one @ other.T).ravel()
        for at, (one, label) in enumerate(demonstrations)
        for other, other_label in demonstrations[:at]
        if label != other_label
    ]
    return float(np.median(np.concatenate(pairs)))


def _distances(windows: FloatArray, shown: FloatArray) -> FloatArray:
    """Return the distance of each window to the nearest one shown."""
    nearest: FloatArray = (1 - windows @ shown.T).min(axis=1).round(9)
    return nearest
