"""How good answers are."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ECE_BINS = 15


def accuracy(answers: Sequence[str], gold: Sequence[str]) -> float:
    """The share of answers that are right. Raises ValueError without any, or for other lengths."""
    _check_lengths(len(answers), len(gold))
    return sum(answer == right for answer, right in zip(answers, gold, strict=True)) / len(gold)


def expected_calibration_error(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """How far what an answer promises lies from how often it is right, 0 to 1.

    confidences: the probability of each answer. The answers are put in 15 bins of equal width by it; the
    error is the mean over the bins of |confidence - accuracy|, weighted by their answers (Guo et al. 2017).
    Raises ValueError without answers, or for other lengths.
    """
    _check_lengths(len(confidences), len(correct))
    promised = np.asarray(confidences, dtype=np.float64)
    kept: npt.NDArray[np.float64] = np.asarray(correct, dtype=np.float64)
    bins = np.clip(np.ceil(promised * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.bincount(bins, weights=promised - kept, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(promised))


def _check_lengths(answers: int, gold: int) -> None:
    if answers != gold or not answers:
        raise ValueError(
            f"{answers} answers cannot be judged by {gold} right ones: both must be equal, over 0"
        )
