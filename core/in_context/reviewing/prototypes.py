"""Which demonstrations a library keeps: those that help by leaving each one out.

An example helps by what the others say of the right labels with it and without it. They are compared by a
soft nearest neighbor: the weight of a label is the sum of exp(cosine / temperature) over its examples.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.vector_labelers import COSINE_TEMPERATURE, unit_rows

MOST_OF_A_LABEL = 24
"""Examples of a label that a library keeps: prompts and neighbors stay small."""

MIN_OTHERS = 2
"""Other examples of a label from which one of it may look mislabeled."""

_FLOOR = 1e-300


def keep_helpful(
    labels: Sequence[str],
    vectors: FloatArray,
    most: int = MOST_OF_A_LABEL,
    newest: Collection[int] = (),
) -> list[int]:
    """Return the numbers of the examples to keep, ascending: at most `most` of each label.

    vectors (examples, D). Of a label with more, the example goes whose absence costs the others least, one at
    a time; `newest` ones go last.
    """
    kept = list(range(len(labels)))
    counts = Counter(labels)
    while over := {label for label, count in counts.items() if count > most}:
        worth = worths([labels[at] for at in kept], vectors[kept])
        free = [place for place, at in enumerate(kept) if labels[at] in over]
        _, _, place = min((kept[place] in newest, round(float(worth[place]), 12), place) for place in free)
        counts[labels[kept.pop(place)]] -= 1
    return kept


def worths(labels: Sequence[str], vectors: FloatArray) -> FloatArray:
    """Return by how much the log probability of the others' labels, summed, falls without each example."""
    of_label, similar = _weights(labels, vectors)
    own = of_label[None, :] == of_label[:, None]
    right = np.where(own, similar, 0.0).sum(axis=1)
    total = similar.sum(axis=1)
    # rows: the others, columns: the example that is absent
    less = np.maximum(total[:, None] - similar, _FLOOR)
    right_less = np.maximum(right[:, None] - np.where(own, similar, 0.0), _FLOOR)
    change = np.log(np.maximum(right, _FLOOR) / np.maximum(total, _FLOOR))[:, None]
    change = change - np.log(right_less / less)
    np.fill_diagonal(change, 0.0)
    worth: FloatArray = change.sum(axis=0)
    return worth


def suspects(labels: Sequence[str], vectors: FloatArray, least: float = 0.8) -> dict[int, str]:
    """Return the examples that look mislabeled by number, with the label that the others say.

    The others give another label at least the probability `least`. Where a label has fewer than
    MIN_OTHERS others, they say nothing about one of them.
    """
    of_label, similar = _weights(labels, vectors)
    found: dict[int, str] = {}
    known = sorted(set(labels))
    counts = Counter(labels)
    for at, weights in enumerate(similar):
        by_label = np.array([weights[of_label == number].sum() for number in range(len(known))])
        best = int(by_label.argmax())
        is_sure = by_label[best] >= least * max(by_label.sum(), _FLOOR)
        if known[best] != labels[at] and counts[labels[at]] > MIN_OTHERS and is_sure:
            found[at] = known[best]
    return found


def _weights(labels: Sequence[str], vectors: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Return the label of each example by number, and (asked, shown) weights; none weighs for itself."""
    known = sorted(set(labels))
    directions = unit_rows(np.asarray(vectors, dtype=np.float64))
    similar = np.exp((directions @ directions.T - 1) / COSINE_TEMPERATURE)
    np.fill_diagonal(similar, 0.0)
    return np.array([known.index(label) for label in labels]), similar
