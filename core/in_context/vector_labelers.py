"""Labelers on vectors: one vector a clip, such as an embedding or a pooled latent, and nothing else.

Both compare vectors by direction alone, and take no statistics from clips other than the demonstrations. So
an answer depends on the library and the query, never on what else was asked.
"""

from collections.abc import Sequence

import numpy as np

from core.in_context.baselines import FloatArray, softmax
from core.in_context.row_products import row_products

COSINE_TEMPERATURE = 0.07
"""For cosines, as for those of pooled latents."""

LOGISTIC_PENALTY = 0.01
"""1 / C for vectors of length 1, which need larger weights than standardized ones."""

LOGISTIC_STEPS = 50
"""After them the loss of 300 demonstrations of 10 labels is within 0.01 of the least one."""


class ClassMeanLabeler:
    """The label whose demonstrations' mean direction is nearest to the query by cosine."""

    def __init__(self, labels: Sequence[str], shown: Sequence[str], vectors: FloatArray) -> None:
        """Take the label and the vector of each demonstration, (demonstrations, D)."""
        directions = unit_rows(vectors)
        columns = [[at for at, one in enumerate(shown) if one == label] for label in labels]
        self._means = unit_rows(np.stack([directions[column].mean(axis=0) for column in columns]))

    def probabilities(self, queries: FloatArray) -> FloatArray:
        """Return (queries, labels): softmax of the cosines over COSINE_TEMPERATURE."""
        # rounded, so that equal demonstrations are equally near
        return softmax(row_products(unit_rows(queries), self._means.T).round(12) / COSINE_TEMPERATURE)


class LogisticLabeler:
    """Logistic regression with an L2 penalty, fitted to the directions of the demonstrations."""

    def __init__(self, labels: Sequence[str], shown: Sequence[str], vectors: FloatArray) -> None:
        """Take the label and the vector of each demonstration, (demonstrations, D)."""
        directions = unit_rows(vectors)
        gold = [labels.index(label) for label in shown]
        weights = fit_logistic(directions @ directions.T, gold, len(labels), penalty=LOGISTIC_PENALTY)
        self._weights = directions.T @ weights

    def probabilities(self, queries: FloatArray) -> FloatArray:
        """Return (queries, labels)."""
        return softmax(row_products(unit_rows(queries), self._weights))


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return (vectors, D) with rows of length 1; a row of zeros stays zeros and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: FloatArray = vectors / np.maximum(lengths, 1e-9)
    return directions


def fit_logistic(kernel: FloatArray, gold: Sequence[int], n_way: int, *, penalty: float) -> FloatArray:
    """Return weights (demonstrations, n_way): a query's logits are its products with the shown @ weights.

    kernel (demonstrations, demonstrations): the products of the shown vectors. The regression's own weights
    are combinations of these vectors, so only those are fitted. No second derivative of the loss exceeds a
    half (Boehning 1992), so steps need one factored matrix and no line search; momentum as by Nesterov.
    """
    target = np.eye(n_way)[list(gold)]
    step = np.linalg.inv(0.5 * kernel + penalty * np.eye(len(kernel)))
    weights = ahead = np.zeros(target.shape)
    momentum = 1.0
    for _ in range(LOGISTIC_STEPS):
        moved = ahead - step @ (softmax(kernel @ ahead) - target + penalty * ahead)
        following = (1 + np.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead = moved + (momentum - 1) / following * (moved - weights)
        weights, momentum = moved, following
    return weights
