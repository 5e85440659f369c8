"""Calibration of probabilities with one temperature, fitted to answers with known labels."""

from collections.abc import Sequence

import numpy as np

from core.in_context.baselines import FloatArray, softmax

TEMPERATURE_BOUNDS = (0.05, 20.0)
"""Bounds of a fit: a few answers that are all right, or all wrong, do not determine a best value."""


def fit_temperature(probabilities: FloatArray, gold: Sequence[int]) -> float:
    """Return the temperature that makes the right labels most probable (Guo et al. 2017).

    probabilities (answers, labels); gold: the index of the right label of each. The log likelihood is concave
    in 1 / temperature, so its maximum is where its derivative changes sign. Raises ValueError without
    answers.
    """
    if len(probabilities) == 0 or len(probabilities) != len(gold):
        raise ValueError(f"{len(probabilities)} answers cannot be fitted to {len(gold)} right labels")
    low, high = (float(np.log(bound)) for bound in TEMPERATURE_BOUNDS)
    for _ in range(50):
        middle = (low + high) / 2
        if _too_sharp(probabilities, gold, float(np.exp(middle))):
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def apply_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Return (answers, labels) probabilities, flatter above 1, sharper below 1, in the same order."""
    return softmax(_logits(probabilities) / temperature)


def _too_sharp(probabilities: FloatArray, gold: Sequence[int], temperature: float) -> bool:
    """Return whether the likelihood still rises with the temperature."""
    logits = _logits(probabilities)
    expected = (apply_temperature(probabilities, temperature) * logits).sum(axis=1)
    return bool(expected.sum() > logits[np.arange(len(gold)), list(gold)].sum())


def _logits(probabilities: FloatArray) -> FloatArray:
    logits: FloatArray = np.log(np.maximum(probabilities, 1e-30))
    return logits
