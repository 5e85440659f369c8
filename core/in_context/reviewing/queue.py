"""Which clips to review: those that would settle the most doubt, each of another kind.

A reviewed clip settles its own doubt, and that of clips in so far as they sound like it: exp(-distance /
reach), with the cosine distance of their vectors. What demonstrations and earlier reviews settle already does
not count again. The clip with the largest gain is taken, then the one with the largest gain beside it, and so
on: of such sums the greedy choice has at least 63 % of the best one's gain (Nemhauser 1978). So a queue
spreads over the clusters of what is doubtful, the larger ones first, and no two clips say the same.

The reach is the median distance from a clip to what is known nearest to it. With little known it is wide, and
what stands for many is asked about; the more is known, the more the doubt of the clip itself decides.
"""

from dataclasses import dataclass

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.vector_labelers import unit_rows

LEAST_REACH = 1e-9
ALIKE = 0.5
"""Settled share of the doubt from which a clip counts as one that a reviewed clip stands for."""


@dataclass(frozen=True)
class Pick:
    """A clip to review, by number. gain: the doubt it settles; stands_for: clips, itself too, that it settles
    by half or more and no earlier pick does.
    """

    number: int
    gain: float
    stands_for: int


def choose_reviews(weights: FloatArray, vectors: FloatArray, shown: FloatArray, count: int) -> list[Pick]:
    """Return up to `count` clips to review, the one with the largest gain first.

    weights (clips,): the doubt of each. vectors (clips, D); shown (any, D): those of demonstrations and of
    reviewed clips. Of equal gains the first clip is taken.
    """
    if len(weights) == 0:
        return []
    settled = Settled(vectors, shown)
    picks: list[Pick] = []
    left = np.ones(len(weights), dtype=bool)
    for _ in range(min(count, len(weights))):
        gains = np.where(left, settled.gains(weights), -1.0)
        best = int(gains.round(12).argmax())
        picks.append(Pick(best, float(gains[best]), settled.review(best)))
        left[best] = False
    return picks


class Settled:
    """The share of each clip's doubt that is settled by what is known."""

    def __init__(self, vectors: FloatArray, shown: FloatArray) -> None:
        directions = unit_rows(np.asarray(vectors, dtype=np.float64))
        known = unit_rows(np.asarray(shown, dtype=np.float64))
        distances = _distances(directions, directions)
        near = _distances(directions, known).min(axis=1) if len(known) else distances.max(axis=1)
        reach = max(float(np.median(near)), LEAST_REACH)
        self._kernel = np.exp(-distances / reach)
        self._settled = np.exp(-near / reach) if len(known) else np.zeros(len(directions))

    def gains(self, weights: FloatArray) -> FloatArray:
        """Return the doubt that a review of each clip would settle beyond what is settled."""
        more = np.maximum(self._kernel - self._settled[:, None], 0.0)
        gains: FloatArray = weights @ more
        return gains

    def review(self, number: int) -> int:
        """Count a clip as reviewed, and return how many clips it stands for."""
        alike = (self._kernel[:, number] >= ALIKE) & (self._settled < ALIKE)
        self._settled = np.maximum(self._settled, self._kernel[:, number])
        return max(int(alike.sum()), 1)


def _distances(some: FloatArray, others: FloatArray) -> FloatArray:
    distances: FloatArray = np.maximum(1 - some @ others.T, 0.0)
    return distances
