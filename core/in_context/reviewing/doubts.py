"""How doubtful an answer is: by its margin, by what other labelers say, and by its distance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.in_context.baselines import FloatArray

DISAGREEMENT_WEIGHT = 0.5
"""What a unanimous contradiction of all other labelers adds to the doubt of an answer that is sure."""


@dataclass(frozen=True)
class Doubt:
    """What makes an answer doubtful.

    margin: calibrated probability of the label less that of the second. disagreement: the share of the other
    labelers that say another label, 0 without others. is_unknown: farther from all demonstrations than clips
    of known labels are.
    """

    margin: float
    disagreement: float = 0.0
    is_unknown: bool = False

    @property
    def weight(self) -> float:
        """The expected worth of knowing the right label, 0 to 1; an unknown clip is all doubt."""
        if self.is_unknown:
            return 1.0
        sure = max(0.0, min(1.0, self.margin))
        return 1 - sure * (1 - DISAGREEMENT_WEIGHT * self.disagreement)


def weights(doubts: Sequence[Doubt]) -> FloatArray:
    """Return the weight of each doubt."""
    return np.array([one.weight for one in doubts], dtype=np.float64)
