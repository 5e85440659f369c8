"""Calibration of probabilities: a temperature, and biases of labels, fitted to answers of known label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.in_context.baselines import FloatArray, softmax

TEMPERATURE_BOUNDS = (0.05, 20.0)
"""Bounds of a fit: a few answers that are all right, or all wrong, do not determine a best value."""

PRIOR_SPREAD = 0.5
"""Deviation of log temperatures about the prior one: of one labeler, over the dev sets."""

MIN_BIAS_ANSWERS = 10
"""Answers of each label from which a bias for each label is fitted."""

BIAS_SPREAD = 0.3
"""Deviation of the biases about 0 that a fit supposes."""

BIAS_STEPS = 30


@dataclass(frozen=True)
class Calibration:
    """log p / temperature + bias; without biases the order of the labels stays."""

    temperature: float
    bias: tuple[float, ...] = ()

    def apply(self, probabilities: FloatArray) -> FloatArray:
        """Return calibrated probabilities (answers, labels)."""
        logits = log_probabilities(probabilities) / self.temperature
        return softmax(logits + np.array(self.bias) if self.bias else logits)


def fit_calibration(probabilities: FloatArray, gold: Sequence[int], prior: float) -> Calibration:
    """Return the calibration of answers (answers, labels), the nearer to the prior the fewer they are.

    gold: the index of the right label of each; prior: a temperature. Biases are fitted where each label is
    the right one of at least MIN_BIAS_ANSWERS.
    """
    if not gold:
        return Calibration(prior)
    temperature = fit_temperature(probabilities, gold, prior=prior)
    counts = Counter(gold)
    if min(counts[label] for label in range(probabilities.shape[1])) < MIN_BIAS_ANSWERS:
        return Calibration(temperature)
    return Calibration(temperature, _fit_bias(log_probabilities(probabilities) / temperature, gold))


def fit_temperature(probabilities: FloatArray, gold: Sequence[int], *, prior: float | None = None) -> float:
    """Return the temperature that makes the right labels most probable (Guo et al. 2017).

    probabilities (answers, labels); gold: the index of the right label of each. The log likelihood is concave
    in 1 / temperature, so its maximum is where its derivative changes sign. prior: log temperatures are
    supposed to be normal about its logarithm, with deviation PRIOR_SPREAD. Raises ValueError without answers.
    """
    if len(probabilities) == 0 or len(probabilities) != len(gold):
        raise ValueError(f"{len(probabilities)} answers cannot be fitted to {len(gold)} right labels")
    low, high = (float(np.log(bound)) for bound in TEMPERATURE_BOUNDS)
    for _ in range(50):
        middle = (low + high) / 2
        if _rises(probabilities, gold, middle, prior):
            low = middle
        else:
            high = middle
    return float(np.exp(high))


def apply_temperature(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Return (answers, labels) probabilities, flatter above 1, sharper below 1, in the same order."""
    return softmax(log_probabilities(probabilities) / temperature)


def log_probabilities(probabilities: FloatArray) -> FloatArray:
    """Return natural logarithms; a probability of zero is taken as 1e-30."""
    logits: FloatArray = np.log(np.maximum(probabilities, 1e-30))
    return logits


def _rises(
    probabilities: FloatArray, gold: Sequence[int], log_temperature: float, prior: float | None
) -> bool:
    """Return whether the likelihood still rises with the temperature."""
    temperature = float(np.exp(log_temperature))
    logits = log_probabilities(probabilities)
    expected = (apply_temperature(probabilities, temperature) * logits).sum(axis=1)
    slope = float(expected.sum() - logits[np.arange(len(gold)), list(gold)].sum()) / temperature
    if prior is not None:
        slope -= (log_temperature - float(np.log(prior))) / PRIOR_SPREAD**2
    return slope > 0


def _fit_bias(logits: FloatArray, gold: Sequence[int]) -> tuple[float, ...]:
    """Return the most probable biases, which are normal about 0 with deviation BIAS_SPREAD."""
    right = np.eye(logits.shape[1])[list(gold)].sum(axis=0)
    bias, weight = np.zeros(logits.shape[1]), 1 / BIAS_SPREAD**2
    for _ in range(BIAS_STEPS):
        # no second derivative exceeds half the number of answers
        bias += (right - softmax(logits + bias).sum(axis=0) - weight * bias) / (len(gold) / 2 + weight)
    return tuple(bias.tolist())
