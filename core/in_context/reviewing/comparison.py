"""What a new version is worth: the same questions answered by the old and by the new one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Gain:
    """The difference of two accuracies on the same questions, new less old, with its interval of 95 %."""

    questions: int
    old: float
    new: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """The difference."""
        return self.new - self.old


def paired_gain(old: Sequence[bool], new: Sequence[bool]) -> Gain:
    """Return the gain from what each version got right, question by question.

    The interval is that of Agresti and Min (2005), with a whole pair added to each kind in place of half a
    one, so that a few questions that all go one way are not taken for certain. Without questions it says
    nothing, -1 to 1.
    """
    if len(old) != len(new):
        raise ValueError(f"{len(old)} old and {len(new)} new answers are not of the same questions")
    questions = len(old)
    if not questions:
        return Gain(0, 0.0, 0.0, -1.0, 1.0)
    better = sum(after and not before for before, after in zip(old, new, strict=True)) + 1
    worse = sum(before and not after for before, after in zip(old, new, strict=True)) + 1
    count = questions + 2
    middle = (better - worse) / count
    half = NORMAL_95 * math.sqrt(better + worse - (better - worse) ** 2 / count) / count
    before, after = (sum(side) / questions for side in (old, new))
    return Gain(questions, before, after, max(-1.0, middle - half), min(1.0, middle + half))
