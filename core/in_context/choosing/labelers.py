"""All labelers side by side, by name: a way to answer, and what of a clip it compares.

`few-shot`, `nearest tokens`, `nearest latents`, `class mean X` and `logistic X` for X in `latents`,
`log-mel`, each installed embedding and `joined` (several embeddings side by side), `zero-shot X` for each
tagger. Simpler ones come first; mixtures (core.in_context.choosing.mixtures) are made of their answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.embeddings.log_mel_model import LOG_MEL
from core.in_context.baselines import FloatArray, NearestNeighbor, latent_probabilities
from core.in_context.choosing.library import JOINED, LATENTS, Demonstration, Installed, ProbabilityLabeler
from core.in_context.choosing.zero_shot import ZeroShotLabeler
from core.in_context.features import ClipFeatures
from core.in_context.latents import NearestLatent, known_latent
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler, unit_rows

if TYPE_CHECKING:
    from core.in_context.labelers import Labeler  # imports torch

FEW_SHOT, NEAREST_TOKENS, NEAREST_LATENTS = "few-shot", "nearest tokens", "nearest latents"
CLASS_MEAN, LOGISTIC, ZERO_SHOT = "class mean", "logistic", "zero-shot"

Labelers = Mapping[str, ProbabilityLabeler]


@dataclass(frozen=True)
class Representation:
    """A vector of each clip: the pooled latent, an embedding, or several of unit length side by side."""

    name: str
    embeddings: tuple[str, ...] = ()
    """The names of the clips' vectors that are joined; none: the pooled latent."""

    def vectors(self, clips: Sequence[ClipFeatures]) -> FloatArray:
        """Return (clips, D)."""
        if not self.embeddings:
            latents = [known_latent(clip.codes).reshape(-1) for clip in clips]
            return np.stack(latents).astype(np.float64)
        parts = [np.stack([clip.vectors[name] for clip in clips]) for name in self.embeddings]
        return np.concatenate([unit_rows(part.astype(np.float64)) for part in parts], axis=1)

    def is_known(self, clip: ClipFeatures) -> bool:
        """Return whether a clip has it."""
        return (
            set(self.embeddings) <= clip.vectors.keys() if self.embeddings else clip.codes.latent is not None
        )


def representations(demonstrations: Sequence[Demonstration], installed: Installed) -> list[Representation]:
    """Return what can be compared of all demonstrations."""
    joined = [Representation(JOINED, installed.embeddings)] if len(installed.embeddings) > 1 else []
    singles = [Representation(name, (name,)) for name in (LOG_MEL, *installed.embeddings)]
    every = [Representation(LATENTS), *singles, *joined]
    return [one for one in every if all(one.is_known(shown.features) for shown in demonstrations)]


def labeler_names(demonstrations: Sequence[Demonstration], installed: Installed) -> tuple[str, ...]:
    """Return the names of the labelers that these demonstrations allow, the simplest first."""
    known = [one.name for one in representations(demonstrations, installed)]
    on_vectors = [f"{way} {name}" for way in (CLASS_MEAN, LOGISTIC) for name in known]
    nearest = [NEAREST_LATENTS, NEAREST_TOKENS] if LATENTS in known else [NEAREST_TOKENS]
    zero_shot = [f"{ZERO_SHOT} {name}" for name in installed.taggers]
    return (*on_vectors, *nearest, *zero_shot, *([FEW_SHOT] if installed.few_shot else []))


def build_labelers(
    names: Iterable[str], labels: Sequence[str], demonstrations: Sequence[Demonstration], installed: Installed
) -> Labelers:
    """Return labelers by name; labels in alphabetical order. Raises KeyError for an unknown name."""
    known = {one.name: one for one in representations(demonstrations, installed)}

    def build(name: str) -> ProbabilityLabeler:
        if name == FEW_SHOT and installed.few_shot:
            return installed.few_shot(labels, demonstrations)
        if name == NEAREST_TOKENS:
            return NearestTokens(labels, demonstrations)
        if name == NEAREST_LATENTS:
            return NearestLatents(labels, demonstrations)
        for way in (CLASS_MEAN, LOGISTIC):
            if (one := known.get(name.removeprefix(f"{way} "))) and name.startswith(way):
                return OnRepresentation(way, one, labels, demonstrations)
        tagger = name.removeprefix(f"{ZERO_SHOT} ")
        return ZeroShotLabeler(labels, tagger, installed.taggers[tagger], installed)

    return {name: build(name) for name in names}


class OnRepresentation:
    """Class mean or logistic regression on one representation."""

    def __init__(
        self,
        way: str,
        representation: Representation,
        labels: Sequence[str],
        demonstrations: Sequence[Demonstration],
    ) -> None:
        kind = ClassMeanLabeler if way == CLASS_MEAN else LogisticLabeler
        vectors = representation.vectors([one.features for one in demonstrations])
        self._representation = representation
        self._labeler: ClassMeanLabeler | LogisticLabeler = kind(
            labels, [one.label for one in demonstrations], vectors
        )

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels)."""
        return self._labeler.probabilities(self._representation.vectors(queries))


class NearestTokens:
    """The nearest demonstration by code histograms."""

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[Demonstration]) -> None:
        self._nearest = NearestNeighbor(labels, [one.clip for one in demonstrations])

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels)."""
        return self._nearest.probabilities([query.codes for query in queries])


class NearestLatents:
    """The nearest demonstration by pooled latent."""

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[Demonstration]) -> None:
        self._nearest = NearestLatent(labels, [one.clip for one in demonstrations])

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels)."""
        return latent_probabilities(self._nearest, [query.codes for query in queries])


class Prompted:
    """The LLM's answers, by a labeler that reads prompts."""

    def __init__(self, labels: Sequence[str], labeler: "Labeler") -> None:
        self._labels, self._labeler = labels, labeler

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels). Raises PromptTooLong."""
        predictions = self._labeler.label([query.codes for query in queries])
        return np.array([[one.probabilities[label] for label in self._labels] for one in predictions])
