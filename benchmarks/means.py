"""Means and their intervals, as the benchmarks print them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.in_context.baselines import FloatArray

RESAMPLES = 2000


@dataclass(frozen=True)
class Mean:
    """The mean over clips that have the measure, its 95 % interval, and how many they are."""

    mean: float
    interval: tuple[float, float]
    clips: int

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.mean:6.3f} [{low:.3f}, {high:.3f}] ({self.clips} clips)"

    @property
    def percent(self) -> str:
        """Return how a share is printed."""
        low, high = self.interval
        return f"{100 * self.mean:5.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def mean_of(values: Sequence[float] | FloatArray, units: Sequence[int] | None = None) -> Mean:
    """Return the mean with its interval by bootstrap over units, such as prompts; None: over clips."""
    array = np.array(values, np.float64)
    _, at = np.unique(np.arange(len(array)) if units is None else np.array(units), return_inverse=True)
    return _ratio(np.bincount(at, array), np.bincount(at), len(array))


def rate_of(counted: Sequence[int], among: Sequence[int]) -> Mean:
    """Return the share of all that was counted, such as wrong words among words, clip by clip.

    The interval is by bootstrap over clips.
    """
    return _ratio(np.array(counted, np.float64), np.array(among, np.float64), len(among))


def _ratio(sums: npt.NDArray[Any], sizes: npt.NDArray[Any], clips: int) -> Mean:
    drawn = np.random.default_rng(0).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), (0.025, 0.975))
    return Mean(float(sums.sum() / sizes.sum()), (float(low), float(high)), clips)
