"""Free baselines that a language model has to beat.

Chance, the majority of the demonstrations, the nearest neighbor by codes, and the one by pooled latents
(core.in_context.latents). The similarity of two clips by codes is the mean over the layers of the
cosine between the square roots of their code histograms.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from core.in_context.latents import NearestLatent
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes, CodeArray

NEAREST_TEMPERATURE = 0.15
"""For similarities between 0 and 1: 0.15 more makes a label e times as probable.

On real sounds, animals and feelings with two to five labels, 0.1 to 0.2 was the most likely range; 0.05 was
overconfident.
"""

LATENT_TEMPERATURE = 0.07
"""For cosines of pooled latents.

On rule-made classes and spoken digits (two and five labels, one and three demonstrations), 0.05 to 0.1 was
the most likely range.
"""

QUERY_BATCH_SIZE = 256

FloatArray = npt.NDArray[np.float64]


class Guess(TypedDict):
    """A baseline's answer."""

    label: str
    probability: float


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: FloatArray = weights / weights.sum(axis=-1, keepdims=True)
    return shares


def best_guess(labels: Sequence[str], probabilities: FloatArray) -> Guess:
    """Return the first of the most probable labels."""
    at = int(probabilities.argmax())
    return Guess(label=labels[at], probability=float(probabilities[at]))


def chance(labels: Sequence[str]) -> Guess:
    """Return a blind guess: the first label, with the probability of chance."""
    return Guess(label=labels[0], probability=1 / len(labels))


def majority(labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> Guess:
    """Return the label with the most demonstrations (the first of equals) and its share of them."""
    counts = Counter(demonstration.label for demonstration in demonstrations)
    label = max(labels, key=lambda label: counts[label])
    return Guess(label=label, probability=counts[label] / len(demonstrations))


def similarities(queries: Sequence[ClipCodes], shots: Sequence[ClipCodes]) -> FloatArray:
    """Return the similarity of clips by codes, (queries, shots), from 0 to 1."""
    layers = (
        _LayerHistograms([clip.layers[layer] for clip in shots]).cosines(
            [clip.layers[layer] for clip in queries]
        )
        for layer in range(len(queries[0].layers))
    )
    mean: FloatArray = np.mean(list(layers), axis=0)
    return mean


class NearestNeighbor:
    """Similarity of whole clips to the demonstrations by their code histograms."""

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        clips = [demonstration.codes for demonstration in demonstrations]
        self.labels = tuple(labels)
        self._layers = [
            _LayerHistograms(list(layer)) for layer in zip(*(clip.layers for clip in clips), strict=True)
        ]
        shots = [demonstration.label for demonstration in demonstrations]
        self._columns = [[at for at, one in enumerate(shots) if one == label] for label in labels]

    def similarities(self, queries: Sequence[ClipCodes]) -> FloatArray:
        """Return (queries, labels): similarity to the nearest demonstration of each label, 0 to 1."""
        starts = range(0, len(queries), QUERY_BATCH_SIZE)
        parts = [self._compare(queries[start : start + QUERY_BATCH_SIZE]) for start in starts]
        return np.concatenate([np.empty((0, len(self.labels))), *parts])

    def probabilities(self, queries: Sequence[ClipCodes]) -> FloatArray:
        """Return (queries, labels): softmax of the similarities over NEAREST_TEMPERATURE."""
        return softmax(self.similarities(queries) / NEAREST_TEMPERATURE)

    def _compare(self, queries: Sequence[ClipCodes]) -> FloatArray:
        layers = enumerate(self._layers)
        cosines = [layer.cosines([query.layers[at] for query in queries]) for at, layer in layers]
        # rounded, so that equal demonstrations are equally near whatever order their terms were added in
        mean = np.mean(cosines, axis=0).round(12)
        return np.stack([mean[:, columns].max(axis=1) for columns in self._columns], axis=1)


def latent_probabilities(nearest: NearestLatent, queries: Sequence[ClipCodes]) -> FloatArray:
    """Return (queries, labels): softmax of the similarities of pooled latents over LATENT_TEMPERATURE."""
    return softmax(nearest.similarities(queries) / LATENT_TEMPERATURE)


class Baselines:
    """Guesses of chance, the majority, and the nearest neighbors by codes and by pooled latent.

    There is no guess by latents if a demonstration has none, nor for a query without one.
    """

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
        self.labels = tuple(labels)
        self.nearest = NearestNeighbor(labels, demonstrations)
        known = all(demonstration.codes.latent is not None for demonstration in demonstrations)
        self._nearest_latent = NearestLatent(labels, demonstrations) if known else None
        self._chance = chance(labels)
        self._majority = majority(labels, demonstrations)

    def guesses(self, queries: Sequence[ClipCodes], nearest: FloatArray) -> list[dict[str, Guess]]:
        """Return for each query the guesses by name of the baseline.

        nearest (queries, labels): the probabilities by codes; the guess is the first of the most probable
        labels.
        """
        by_latent = self._by_latent(queries)
        return [self._guesses(*one) for one in zip(nearest, by_latent, strict=True)]

    def _by_latent(self, queries: Sequence[ClipCodes]) -> list[Guess | None]:
        known = [query for query in queries if query.latent is not None]
        if self._nearest_latent is None or not known:
            return [None] * len(queries)
        probabilities = iter(latent_probabilities(self._nearest_latent, known))
        return [
            None if query.latent is None else best_guess(self.labels, next(probabilities))
            for query in queries
        ]

    def _guesses(self, nearest: FloatArray, by_latent: Guess | None) -> dict[str, Guess]:
        guesses = {
            "chance": self._chance,
            "majority": self._majority,
            "nearest": best_guess(self.labels, nearest),
        }
        return guesses if by_latent is None else {**guesses, "nearest_latent": by_latent}


class _LayerHistograms:
    """The demonstrations' codes in one layer, as square roots of their shares: vectors of length 1."""

    def __init__(self, clips: Sequence[CodeArray]) -> None:
        self._known = np.unique(np.concatenate(clips))
        self._roots = np.zeros((len(self._known), len(clips)))
        for number, clip in enumerate(clips):
            places, roots = self._square_roots(clip)
            self._roots[places, number] = roots

    def cosines(self, clips: Sequence[CodeArray]) -> FloatArray:
        """Return the cosines (clips, demonstrations), each row from one clip's codes alone."""
        return np.stack([roots @ self._roots[places] for places, roots in map(self._square_roots, clips)])

    def _square_roots(self, clip: CodeArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Return the places of a clip's known codes, and the square roots of their shares of all codes."""
        codes, counts = np.unique(clip, return_counts=True)
        places = np.searchsorted(self._known, codes).clip(max=len(self._known) - 1)
        is_known = self._known[places] == codes
        return places[is_known], np.sqrt(counts[is_known] / len(clip))
