"""Ways to answer an episode: a frozen language model, and baselines that need none.

Every way is given the same episodes and returns (episodes, n_way) probabilities in the order of each
episode's label set.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional

from core.baselines import FloatArray, NearestNeighbour, softmax
from core.codes import ClipCodes
from core.evaluation.episodes import Episode, LabeledClips
from core.few_shot import FewShotSettings
from core.llama import FrozenLlama
from core.understand import FewShotLabeler
from core.vocabulary import Vocabulary

VECTOR_TEMPERATURE = 0.1
"""Of cosines between standardised vectors; only the calibration of these baselines depends on it."""

REGULARISATION = 10.0
"""1 / C of the logistic regression, as MINI-scale features with few shots need."""


class Method(Protocol):
    """Answers one episode."""

    def __call__(self, clips: LabeledClips, episode: Episode) -> FloatArray:
        """(n_way,) probabilities."""


class LanguageModel:
    """Few-shot prompting of a frozen LLAMA."""

    def __init__(self, llama: FrozenLlama, vocabulary: Vocabulary, settings: FewShotSettings) -> None:
        self._llama = llama
        self._vocabulary = vocabulary
        self._settings = settings

    def __call__(self, clips: LabeledClips, episode: Episode) -> FloatArray:
        shots = episode.shots(clips)
        labeler = FewShotLabeler(self._llama, self._vocabulary, episode.label_set, shots, self._settings)
        (answer,) = labeler.label([clips.codes[episode.query]])
        return np.array([answer.probabilities[label] for label in episode.label_set])


def chance(clips: LabeledClips, episode: Episode) -> FloatArray:
    """All labels alike; the first is said."""
    return np.full(len(episode.label_set), 1 / len(episode.label_set))


def majority(clips: LabeledClips, episode: Episode) -> FloatArray:
    """The shares of the labels among the demonstrations."""
    counts = Counter(episode.labels)
    return np.array([counts[label] / len(episode.labels) for label in episode.label_set])


def nearest_tokens(clips: LabeledClips, episode: Episode) -> FloatArray:
    """The product's baseline: nearest demonstration by the code histograms of all three layers."""
    nearest = NearestNeighbour(episode.label_set, episode.shots(clips))
    row: FloatArray = nearest.probabilities([clips.codes[episode.query]])[0]
    return row


def nearest_ngrams(clips: LabeledClips, episode: Episode) -> FloatArray:
    """Nearest demonstration by the histograms of semantic codes and pairs of them, as cosines."""
    query = _ngrams(clips.codes[episode.query])
    cosines = [_cosine(query, _ngrams(clips.codes[number])) for number in episode.demonstrations]
    return _nearest(np.array(cosines), episode)


class NearestVector:
    """Nearest demonstration by the cosine of standardised vectors of that name.

    Standardised by the mean and deviation of the whole labelled set, which favours this baseline a little.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, clips: LabeledClips, episode: Episode) -> FloatArray:
        vectors = standardised(clips.vectors[self._name])
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return _nearest(unit[list(episode.demonstrations)] @ unit[episode.query], episode)


class LogisticRegression:
    """Fitted to the demonstrations' vectors of that name, with an L2 penalty."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, clips: LabeledClips, episode: Episode) -> FloatArray:
        vectors = torch.from_numpy(standardised(clips.vectors[self._name]))
        labels = episode.label_set
        gold = torch.tensor([labels.index(label) for label in episode.labels])
        logits = _fit(vectors[list(episode.demonstrations)], gold, len(labels), vectors[episode.query])
        return softmax(logits)


def standardised(vectors: FloatArray) -> FloatArray:
    """(clips, D) with mean 0 and deviation 1 in each column."""
    scaled: FloatArray = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6)
    return scaled


def answer_all(method: Method, clips: LabeledClips, episodes: Sequence[Episode]) -> FloatArray:
    """(episodes, n_way) probabilities."""
    return np.stack([method(clips, episode) for episode in episodes])


def baselines(clips: LabeledClips) -> Mapping[str, Method]:
    """Those that the clips allow, by name."""
    methods: dict[str, Method] = {
        "chance": chance,
        "majority": majority,
        "nearest tokens": nearest_tokens,
        "nearest n-grams": nearest_ngrams,
    }
    for name in clips.vectors:
        methods[f"nearest {name}"] = NearestVector(name)
        methods[f"logistic {name}"] = LogisticRegression(name)
    return methods


def _fit(shown: torch.Tensor, gold: torch.Tensor, n_way: int, query: torch.Tensor) -> FloatArray:
    """The query's logits. The weights are combinations of the shown vectors, so only those are fitted."""
    kernel = shown @ shown.T
    weights = torch.zeros(len(shown), n_way, dtype=shown.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = 0.5 * REGULARISATION * (weights * (kernel @ weights)).sum()
        total = functional.cross_entropy(kernel @ weights, gold, reduction="sum") + penalty
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    logits: FloatArray = (query @ shown.T @ weights).detach().numpy()
    return logits


def _nearest(likeness: FloatArray, episode: Episode) -> FloatArray:
    """Softmax over the best likeness of each label's demonstrations."""
    labels = np.array(episode.labels)
    best = np.array([likeness[labels == label].max() for label in episode.label_set])
    return softmax(best / VECTOR_TEMPERATURE)


def _ngrams(clip: ClipCodes) -> Counter[tuple[int, ...]]:
    codes = clip.semantic.tolist()
    return Counter((code,) for code in codes) + Counter(pairwise(codes))


def _cosine(one: Counter[tuple[int, ...]], other: Counter[tuple[int, ...]]) -> float:
    shared = sum(math.sqrt(one[key] * other[key]) for key in one.keys() & other.keys())
    return shared / math.sqrt(one.total() * other.total())
