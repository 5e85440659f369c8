"""Methods that answer an episode: a frozen language model, and baselines without one.

All get the same episodes, and reply in the order of each episode's label set.
"""

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from core.evaluation.episodes import Episode, LabeledClips
from core.in_context.baselines import FloatArray, softmax
from core.in_context.choosing import Demonstration, Installed, build_labelers, labeler_names
from core.in_context.labelers import FewShotLabeler
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary

NGRAM_TEMPERATURE = 0.1
"""Temperature for cosines of histograms; it affects only the calibration of this baseline."""


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


class FewShotMethod:
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


class OfLibrary:
    """One of the product's labelers, by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        built = build_labelers([self._name], episode.label_set, episode.library(clips), clips.installed)
        return most_probable(built[self._name].probabilities([clips.features(episode.query)])[0])


def nearest_ngrams(clips: LabeledClips, episode: Episode) -> Reply:
    """Reply with the nearest demonstration by histograms of semantic codes and their pairs, as cosines."""
    query = _ngrams(clips.codes[episode.query])
    cosines = [_cosine(query, _ngrams(clips.codes[number])) for number in episode.demonstrations]
    return _nearest(np.array(cosines), episode)


def baselines(clips: LabeledClips) -> Mapping[str, Method]:
    """Return the baselines that the clips allow, by name: all labelers of the product that need no model."""
    methods: dict[str, Method] = {"chance": chance, "majority": majority}
    free = names_for(clips, Installed())
    return methods | {name: OfLibrary(name) for name in reversed(free)} | {"nearest n-grams": nearest_ngrams}


def installed(clips: LabeledClips) -> Mapping[str, Method]:
    """Return the labelers on embeddings of installed models, by name."""
    free = names_for(clips, Installed())
    return {name: OfLibrary(name) for name in names_for(clips, clips.installed) if name not in free}


def names_for(clips: LabeledClips, models: Installed) -> tuple[str, ...]:
    """Return the names of the product's labelers that all clips allow."""
    every = [Demonstration(clips.features(at), label) for at, label in enumerate(clips.labels)]
    return labeler_names(every, models)


def _nearest(likeness: FloatArray, episode: Episode) -> Reply:
    """Reply with the softmax over the highest similarity of each label's demonstrations."""
    labels = np.array(episode.labels)
    best = np.array([likeness[labels == label].max() for label in episode.label_set])
    return most_probable(softmax(best / NGRAM_TEMPERATURE))


def _ngrams(clip: ClipCodes) -> Counter[tuple[int, ...]]:
    codes = clip.semantic.tolist()
    return Counter((code,) for code in codes) + Counter(pairwise(codes))


def _cosine(one: Counter[tuple[int, ...]], other: Counter[tuple[int, ...]]) -> float:
    shared = sum(math.sqrt(one[key] * other[key]) for key in one.keys() & other.keys())
    return shared / math.sqrt(one.total() * other.total())
