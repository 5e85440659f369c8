"""Labelers on vectors: one vector a clip, such as an embedding or a pooled latent, and nothing else.

Both compare vectors by direction alone, and take no statistics from clips other than the demonstrations. So
an answer depends on the library and the query, never on what else was asked.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.in_context.baselines import FloatArray, softmax

CLASS_MEAN_TEMPERATURE = 0.07
"""For cosines, as for those of pooled latents."""

LOGISTIC_PENALTY = 0.01
"""1 / C for vectors of length 1, which need larger weights than standardized ones."""


class ClassMeanLabeler:
    """The label whose demonstrations' mean direction is nearest to the query by cosine."""

    def __init__(self, labels: Sequence[str], shown: Sequence[str], vectors: FloatArray) -> None:
        """Take the label and the vector of each demonstration, (demonstrations, D)."""
        directions = unit_rows(vectors)
        columns = [[at for at, one in enumerate(shown) if one == label] for label in labels]
        self._means = unit_rows(np.stack([directions[column].mean(axis=0) for column in columns]))

    def probabilities(self, queries: FloatArray) -> FloatArray:
        """Return (queries, labels): softmax of the cosines over CLASS_MEAN_TEMPERATURE."""
        # rounded, so that equal demonstrations are equally near in whatever batch they are compared
        return softmax((unit_rows(queries) @ self._means.T).round(12) / CLASS_MEAN_TEMPERATURE)


class LogisticLabeler:
    """Logistic regression with an L2 penalty, fitted to the directions of the demonstrations."""

    def __init__(self, labels: Sequence[str], shown: Sequence[str], vectors: FloatArray) -> None:
        """Take the label and the vector of each demonstration, (demonstrations, D)."""
        self._shown = torch.from_numpy(unit_rows(vectors))
        gold = torch.tensor([labels.index(label) for label in shown])
        self._weights = fit_logistic(self._shown, gold, len(labels), penalty=LOGISTIC_PENALTY)

    def probabilities(self, queries: FloatArray) -> FloatArray:
        """Return (queries, labels)."""
        return softmax((torch.from_numpy(unit_rows(queries)) @ self._shown.T @ self._weights).numpy())


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Return (vectors, D) with rows of length 1; a row of zeros stays zeros and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: FloatArray = vectors / np.maximum(lengths, 1e-9)
    return directions


def fit_logistic(shown: Tensor, gold: Tensor, n_way: int, *, penalty: float) -> Tensor:
    """Return weights (demonstrations, n_way): a query's logits are `query @ shown.T @ weights`.

    The regression's own weights are combinations of the shown vectors, so only those are fitted.
    """
    kernel = shown @ shown.T
    weights = torch.zeros(len(shown), n_way, dtype=shown.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalized = 0.5 * penalty * (weights * (kernel @ weights)).sum()
        total = functional.cross_entropy(kernel @ weights, gold, reduction="sum") + penalized
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach()
