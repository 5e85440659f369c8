"""Labels without demonstrations: the classes that a tagger scored, compared with the labels as texts."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from core.in_context.baselines import FloatArray, softmax
from core.in_context.choosing.library import Installed, TextSimilarity
from core.in_context.features import ClipFeatures
from core.in_context.row_products import row_products

TEXT_TEMPERATURE = 0.05
"""Of the similarity of a label and a class: 0.05 more makes a class count e times as much."""

SCORE_FLOOR = 1e-6

_ENDINGS = ("ings", "ing", "ers", "es", "ed", "er", "s", "e", "y")
_SHORTEST_STEM = 3


class ZeroShotLabeler:
    """The label whose text is most like the classes that a tagger scored; takes no demonstration."""

    def __init__(
        self, labels: Sequence[str], tagger: str, classes: Sequence[str], installed: Installed
    ) -> None:
        texts = installed.texts or WordOverlap(installed.synonyms)
        self._tagger = tagger
        self._weights = class_weights(texts, labels, classes)

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels): shares of the weighted mean scores."""
        scores = np.stack([query.scores[self._tagger] for query in queries]).astype(np.float64)
        likely = row_products(scores, self._weights.T) + SCORE_FLOOR
        shares: FloatArray = likely / likely.sum(axis=1, keepdims=True)
        return shares


def class_weights(texts: TextSimilarity, labels: Sequence[str], classes: Sequence[str]) -> FloatArray:
    """Return (labels, classes): how much each class counts for a label, with sum 1 for each label."""
    return softmax(texts.similarities(labels, classes) / TEXT_TEMPERATURE)


class WordOverlap:
    """Share of words that a label, or a synonym that the library gives for it, has in common with a class.

    A class is often several names, as in "Vehicle horn, car horn, honking": the best of them counts. Rare
    words weigh more (inverse document frequency over the classes). Endings are ignored.
    """

    def __init__(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        self._synonyms = synonyms

    def similarities(self, texts: Sequence[str], others: Sequence[str]) -> FloatArray:
        """Return (texts, others), 0 to 1."""
        names = [[words(name) for name in re.split(r"[,()]", other)] for other in others]
        seen = Counter(word for other in names for word in set().union(*other))
        weights = {word: math.log(1 + len(others) / count) for word, count in seen.items()}
        rows = [[words(one) for one in (text, *self._synonyms.get(text, ()))] for text in texts]
        return np.array([[_best_overlap(row, other, weights) for other in names] for row in rows])


def words(text: str) -> frozenset[str]:
    """Return the words of a text without their endings."""
    return frozenset(_stem(word) for word in re.findall(r"[^\W_]+", text.lower()))


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word.removesuffix(ending)
    return word


def _best_overlap(
    texts: Sequence[frozenset[str]], names: Sequence[frozenset[str]], weights: Mapping[str, float]
) -> float:
    return max(_overlap(text, name, weights) for text in texts for name in names)


def _overlap(text: frozenset[str], name: frozenset[str], weights: Mapping[str, float]) -> float:
    """Return twice the weight of the shared words over that of all words; words of no class weigh 1."""
    both, total = (sum(weights.get(word, 1.0) for word in some) for some in (text & name, [*text, *name]))
    return 2 * both / total if total else 0.0
