"""None of these: a clip that is farther from every demonstration than the demonstrations are from each other.

The bound is conformal: the quantile of the distances of left-out demonstrations to the nearest of those that
stay, so that a new clip of a known label is within it as often as the coverage says. Few distances say
little; then the bound is the median distance between demonstrations of different labels times a share that
was measured on the dev sets.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.in_context.baselines import FloatArray
from core.in_context.choosing.dev_prior import COVERAGES, UNKNOWN_SHARES
from core.in_context.choosing.folding import folds
from core.in_context.choosing.labelers import Representation
from core.in_context.choosing.library import Demonstration
from core.in_context.features import ClipFeatures
from core.in_context.row_products import row_products
from core.in_context.vector_labelers import unit_rows

COVERAGE = 0.9
MIN_DISTANCES = 10
"""Left-out distances from which the bound is theirs."""


@dataclass(frozen=True)
class UnknownBound:
    """The farthest distance, 1 - cosine, at which a clip is still taken for one of the labels.

    left_out: the distances that the bound is from; 0 for the prior.
    """

    representation: Representation
    distance: float
    coverage: float
    left_out: int

    def are_unknown(
        self, demonstrations: Sequence[Demonstration], queries: Sequence[ClipFeatures]
    ) -> npt.NDArray[np.bool_]:
        """Return for each query whether it is farther than the bound from every demonstration."""
        return nearest_distances(self.representation, demonstrations, queries) > self.distance


def fit_unknown(
    representation: Representation,
    demonstrations: Sequence[Demonstration],
    coverage: float = COVERAGE,
    *,
    by_tagger: bool = False,
) -> UnknownBound:
    """Return the bound within which this share of new clips of the known labels is expected.

    by_tagger: whether taggers' embeddings alone are compared, which have a prior of their own. Raises
    ValueError for a coverage that is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"the coverage is {coverage}: it must be between 0 and 1, such as {COVERAGE}")
    distances = _left_out_distances(representation, demonstrations)
    if len(distances) < MIN_DISTANCES:
        share = _prior_share(demonstrations, coverage, by_tagger=by_tagger)
        bound = share * typical_distance(representation, demonstrations)
        return UnknownBound(representation, bound, coverage, 0)
    return UnknownBound(representation, _quantile(distances, coverage), coverage, len(distances))


def nearest_distances(
    representation: Representation, shown: Sequence[Demonstration], queries: Sequence[ClipFeatures]
) -> FloatArray:
    """Return for each query its distance to the nearest demonstration, 0 to 2."""
    if not queries:
        return np.empty(0)
    vectors = unit_rows(representation.vectors([one.features for one in shown]))
    cosines = row_products(unit_rows(representation.vectors(queries)), vectors.T)
    nearest: FloatArray = (1 - cosines).min(axis=1).round(9)
    return nearest


def _left_out_distances(
    representation: Representation, demonstrations: Sequence[Demonstration]
) -> FloatArray:
    parts = [np.empty(0)]
    for fold in folds(demonstrations):
        stay = [one for at, one in enumerate(demonstrations) if at not in fold]
        left = [demonstrations[at].features for at in fold]
        parts.append(nearest_distances(representation, stay, left))
    return np.concatenate(parts)


def _quantile(distances: FloatArray, coverage: float) -> float:
    """Return the distance at the place (n + 1) * coverage among n in order, between two of them if need be.

    A further clip is equally likely to fall into any of the n + 1 gaps. Beyond the farthest, the farthest is
    returned.
    """
    places = np.arange(1, len(distances) + 1)
    return float(np.interp((len(distances) + 1) * coverage, places, np.sort(distances)))


def typical_distance(representation: Representation, demonstrations: Sequence[Demonstration]) -> float:
    """Return the median distance between demonstrations of different labels."""
    vectors = unit_rows(representation.vectors([one.features for one in demonstrations]))
    labels = np.array([one.label for one in demonstrations])
    return float(np.median((1 - vectors @ vectors.T)[labels[:, None] != labels[None, :]]))


def _prior_share(demonstrations: Sequence[Demonstration], coverage: float, *, by_tagger: bool) -> float:
    """Return the share of the typical distance within which known clips were on the dev sets."""
    fewest = min(Counter(one.label for one in demonstrations).values())
    shares = UNKNOWN_SHARES["tagger" if by_tagger else "latents", fewest == 1]
    return float(np.interp(coverage, COVERAGES, shares))
