"""What costs nothing: the answers that a language model has to beat.

Chance, the majority of the demonstrations, the nearest neighbour on the codes themselves, and the one on
pooled latents (core.in_context.latents). By codes two clips are as alike as the mean over the three layers of
the cosine between the square roots of their code histograms.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from core.in_context.latents import NearestLatent
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes, Int16Array

NEAREST_TEMPERATURE = 0.15
"""Likenesses lie between 0 and 1: 0.15 more makes a label e times as probable. On real sounds, animals and
feelings, two to five labels, 0.1 to 0.2 made the right ones most probable; 0.05 was overconfident."""

LATENT_TEMPERATURE = 0.07
"""For cosines of pooled latents; over classes made by rule and spoken digits, two and five labels by one and
three demonstrations, 0.05 to 0.1 made the right ones most probable."""

QUERY_BATCH_SIZE = 256

FloatArray = npt.NDArray[np.float64]


class Guess(TypedDict):
    """A baseline's answer."""

    label: str
    probability: float


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def chance(labels: Sequence[str]) -> Guess:
    """A blind guess. It names the first label; what counts is its probability."""
    return Guess(label=labels[0], probability=1 / len(labels))


def majority(labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> Guess:
    """The label with the most demonstrations and its share of them, the first of equals."""
    counts = Counter(demonstration.label for demonstration in demonstrations)
    label = max(labels, key=lambda label: counts[label])
    return Guess(label=label, probability=counts[label] / len(demonstrations))


def likenesses(queries: Sequence[ClipCodes], shown: Sequence[ClipCodes]) -> FloatArray:
    """(queries, shown): how alike two clips are, from 0 to 1."""
    layers = (
        _LayerHistograms([clip.layers[layer] for clip in shown]).cosines(
            [clip.layers[layer] for clip in queries]
        )
        for layer in range(3)
    )
    mean: FloatArray = np.mean(list(layers), axis=0)
    return mean


class NearestNeighbour:
    """Compares whole clips with the demonstrations by their code histograms."""

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        clips = [demonstration.codes for demonstration in demonstrations]
        self.labels = tuple(labels)
        self._layers = [_LayerHistograms([clip.layers[layer] for clip in clips]) for layer in range(3)]
        shown = [demonstration.label for demonstration in demonstrations]
        self._columns = [[at for at, one in enumerate(shown) if one == label] for label in labels]

    def similarities(self, queries: Sequence[ClipCodes]) -> FloatArray:
        """(queries, labels): how alike a query and the nearest demonstration of each label are, 0 to 1."""
        starts = range(0, len(queries), QUERY_BATCH_SIZE)
        parts = [self._compare(queries[start : start + QUERY_BATCH_SIZE]) for start in starts]
        return np.concatenate([np.empty((0, len(self.labels))), *parts])

    def probabilities(self, queries: Sequence[ClipCodes]) -> FloatArray:
        """(queries, labels): softmax of the similarities over NEAREST_TEMPERATURE."""
        return softmax(self.similarities(queries) / NEAREST_TEMPERATURE)

    def _compare(self, queries: Sequence[ClipCodes]) -> FloatArray:
        layers = enumerate(self._layers)
        cosines = [layer.cosines([query.layers[at] for query in queries]) for at, layer in layers]
        # rounded, so that equal demonstrations are equally near whatever order their terms were added in
        mean = np.mean(cosines, axis=0).round(12)
        return np.stack([mean[:, columns].max(axis=1) for columns in self._columns], axis=1)


def latent_probabilities(nearest: NearestLatent, queries: Sequence[ClipCodes]) -> FloatArray:
    """(queries, labels): softmax of the likenesses of pooled latents over LATENT_TEMPERATURE."""
    return softmax(nearest.similarities(queries) / LATENT_TEMPERATURE)


class Baselines:
    """What chance, the majority and the nearest neighbours by codes and by pooled latent say of each query.

    Where a demonstration has no pooled latent, nothing is said by latents; nor of a query without one.
    """

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        self.labels = tuple(labels)
        self.nearest = NearestNeighbour(labels, demonstrations)
        known = all(demonstration.codes.latent is not None for demonstration in demonstrations)
        self._nearest_latent = NearestLatent(labels, demonstrations) if known else None
        self._chance = chance(labels)
        self._majority = majority(labels, demonstrations)

    def guesses(self, queries: Sequence[ClipCodes], nearest: FloatArray) -> list[dict[str, Guess]]:
        """For each query the guesses by the name of the baseline.

        nearest (queries, labels): the probabilities by codes; of equal labels the first is said.
        """
        by_latent = self._by_latent(queries)
        return [self._guesses(*one) for one in zip(nearest, by_latent, strict=True)]

    def _by_latent(self, queries: Sequence[ClipCodes]) -> list[Guess | None]:
        known = [query for query in queries if query.latent is not None]
        if self._nearest_latent is None or not known:
            return [None] * len(queries)
        said = iter(latent_probabilities(self._nearest_latent, known))
        return [None if query.latent is None else self._first(next(said)) for query in queries]

    def _guesses(self, nearest: FloatArray, by_latent: Guess | None) -> dict[str, Guess]:
        guesses = {"chance": self._chance, "majority": self._majority, "nearest": self._first(nearest)}
        return guesses if by_latent is None else {**guesses, "nearest_latent": by_latent}

    def _first(self, probabilities: FloatArray) -> Guess:
        return Guess(label=self.labels[probabilities.argmax()], probability=float(probabilities.max()))


class _LayerHistograms:
    """The demonstrations' codes in one layer, as square roots of their shares: vectors of length 1."""

    def __init__(self, clips: Sequence[Int16Array]) -> None:
        self._known = np.unique(np.concatenate(clips))
        self._roots = self._square_roots(clips)

    def cosines(self, clips: Sequence[Int16Array]) -> FloatArray:
        """(clips, demonstrations)."""
        return self._square_roots(clips) @ self._roots.T

    def _square_roots(self, clips: Sequence[Int16Array]) -> FloatArray:
        """(clips, known codes). Codes that no demonstration has meet nothing but count in the length."""
        lengths = np.array([len(clip) for clip in clips])
        codes = np.concatenate(clips)
        columns = np.searchsorted(self._known, codes).clip(max=len(self._known) - 1)
        cells = np.repeat(np.arange(len(clips)), lengths) * len(self._known) + columns
        cells = cells[self._known[columns] == codes]
        counts = np.bincount(cells, minlength=len(clips) * len(self._known)).reshape(len(clips), -1)
        roots: FloatArray = np.sqrt(counts / lengths[:, None])
        return roots
