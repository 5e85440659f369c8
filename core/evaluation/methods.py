"""Methods that answer an episode: a frozen language model, and baselines without one.

All get the same episodes, and reply in the order of each episode's label set.
"""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import torch

from core.evaluation.episodes import Episode, LabeledClips
from core.in_context.baselines import FloatArray, NearestNeighbor, latent_probabilities, softmax
from core.in_context.labelers import FewShotLabeler
from core.in_context.latents import NearestLatent, known_latent
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler, fit_logistic
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary

VECTOR_TEMPERATURE = 0.1
"""Temperature for cosines of standardized vectors; it affects only the calibration of these baselines."""

REGULARIZATION = 10.0
"""1 / C of the logistic regression, for features of this size and few shots."""


class Reply(NamedTuple):
    """probabilities (n_way,), and votes (n_way,): 1 for the answer, or 1 / n for each of n equal answers.

    A method without a preference is thus right as often as chance.
    """

    probabilities: FloatArray
    votes: FloatArray


def most_probable(probabilities: FloatArray) -> Reply:
    """Return the reply with the most probable label."""
    best = probabilities == probabilities.max()
    return Reply(probabilities, best / best.sum())


class Method(Protocol):
    """A way to answer one episode."""

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply: ...


class LanguageModel:
    """Few-shot prompting of a frozen LLaMA."""

    def __init__(self, llama: FrozenLlama, vocabulary: Vocabulary, settings: FewShotSettings) -> None:
        self._llama = llama
        self._vocabulary = vocabulary
        self._settings = settings

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        labels, shots = episode.label_set, episode.shots(clips)
        labeler = FewShotLabeler(self._llama, self._vocabulary, labels, shots, self._settings)
        (answer,) = labeler.label([clips.codes[episode.query]])
        probabilities = np.array([answer.probabilities[label] for label in labels])
        # in paper mode greedy decoding may differ from the most probable label
        return Reply(probabilities, np.array([float(label == answer.label) for label in labels]))


def chance(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with equal probabilities."""
    return most_probable(np.full(len(episode.label_set), 1 / len(episode.label_set)))


def majority(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with the shares of the labels among the demonstrations."""
    counts = Counter(episode.labels)
    return most_probable(np.array([counts[label] / len(episode.labels) for label in episode.label_set]))


def nearest_tokens(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with the nearest demonstration by code histograms, the product's baseline."""
    nearest = NearestNeighbor(episode.label_set, episode.shots(clips))
    return most_probable(nearest.probabilities([clips.codes[episode.query]])[0])


def nearest_latents(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with the nearest demonstration by pooled latent, the product's other baseline."""
    nearest = NearestLatent(episode.label_set, episode.shots(clips))
    return most_probable(latent_probabilities(nearest, [clips.codes[episode.query]])[0])


def nearest_ngrams(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with the nearest demonstration by histograms of semantic codes and their pairs, as cosines."""
    query = _ngrams(clips.codes[episode.query])
    cosines = [_cosine(query, _ngrams(clips.codes[number])) for number in episode.demonstrations]
    return _nearest(np.array(cosines), episode)


class NearestVector:
    """Nearest demonstration by the cosine of the clips' vectors, (clips, D)."""

    def __init__(self, vectors: FloatArray) -> None:
        self._unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        return _nearest(self._unit[list(episode.demonstrations)] @ self._unit[episode.query], episode)


class LogisticRegression:
    """Logistic regression with an L2 penalty, fitted to the demonstrations' vectors; vectors (clips, D)."""

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = torch.from_numpy(vectors)

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        labels = episode.label_set
        gold = torch.tensor([labels.index(label) for label in episode.labels])
        shown = self._vectors[list(episode.demonstrations)]
        weights = fit_logistic(shown, gold, len(labels), penalty=REGULARIZATION)
        return most_probable(softmax((self._vectors[episode.query] @ shown.T @ weights).numpy()))


class OnVectors:
    """A labeler that compares the clips' vectors (clips, D) as they are."""

    def __init__(self, labeler: type[ClassMeanLabeler] | type[LogisticLabeler], vectors: FloatArray) -> None:
        self._labeler = labeler
        self._vectors = vectors

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        shown = self._vectors[list(episode.demonstrations)]
        labeler = self._labeler(episode.label_set, episode.labels, shown)
        return most_probable(labeler.probabilities(self._vectors[[episode.query]])[0])


def standardized(vectors: FloatArray) -> FloatArray:
    """Return (clips, D) with mean 0 and deviation 1 in each column."""
    scaled: FloatArray = (vectors - vectors.mean(axis=0)) / np.maximum(vectors.std(axis=0), 1e-6)
    return scaled


def baselines(clips: LabeledClips) -> Mapping[str, Method]:
    """Return the baselines that the clips allow, by name.

    Vectors are standardized over the whole labeled set, which slightly favors the baselines that use them.
    """
    methods: dict[str, Method] = {
        "chance": chance,
        "majority": majority,
        "nearest tokens": nearest_tokens,
        "nearest n-grams": nearest_ngrams,
    }
    if all(clip.latent is not None for clip in clips.codes):
        latents = np.stack([known_latent(clip).ravel() for clip in clips.codes]).astype(np.float64)
        methods["nearest latents"] = nearest_latents
        methods["logistic latents"] = LogisticRegression(standardized(latents))
        methods["class mean latents"] = OnVectors(ClassMeanLabeler, latents)
    for name, vectors in clips.vectors.items():
        scaled = standardized(vectors)
        methods[f"nearest {name}"] = NearestVector(scaled)
        methods[f"logistic {name}"] = LogisticRegression(scaled)
    return methods


def installed(clips: LabeledClips) -> Mapping[str, Method]:
    """Return the labelers on embeddings of installed models, by name."""
    methods: dict[str, Method] = {}
    for name, vectors in clips.embeddings.items():
        methods[f"class mean {name}"] = OnVectors(ClassMeanLabeler, vectors)
        methods[f"logistic {name}"] = OnVectors(LogisticLabeler, vectors)
    return methods


def _nearest(likeness: FloatArray, episode: Episode) -> Reply:
    """Reply with the softmax over the highest similarity of each label's demonstrations."""
    labels = np.array(episode.labels)
    best = np.array([likeness[labels == label].max() for label in episode.label_set])
    return most_probable(softmax(best / VECTOR_TEMPERATURE))


def _ngrams(clip: ClipCodes) -> Counter[tuple[int, ...]]:
    codes = clip.semantic.tolist()
    return Counter((code,) for code in codes) + Counter(pairwise(codes))


def _cosine(one: Counter[tuple[int, ...]], other: Counter[tuple[int, ...]]) -> float:
    shared = sum(math.sqrt(one[key] * other[key]) for key in one.keys() & other.keys())
    return shared / math.sqrt(one.total() * other.total())
