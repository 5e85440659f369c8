"""Mixtures: the sum of several labelers' log probabilities, each divided by its temperature.

On single sets of clips other single labelers are best; a mixture is close to the best one on all of them.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from core.in_context.baselines import FloatArray, softmax
from core.in_context.calibration import log_probabilities
from core.in_context.choosing.dev_prior import MIXTURES
from core.in_context.choosing.labelers import FEW_SHOT, build_labelers
from core.in_context.choosing.library import Demonstration, Installed
from core.in_context.features import ClipFeatures

MIXTURE, WITH_FEW_SHOT, WITH_EMBEDDINGS = "mixture", "mixture with few-shot", "mixture with embeddings"

_EMBEDDING = " embedding"


def mixtures(labelers: Sequence[str], embeddings: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the mixtures of these labelers by name, with the temperature of each part.

    Several embeddings share the weight of one.
    """
    found = {name: _parts(name, labelers, embeddings) for name in (MIXTURE, WITH_FEW_SHOT, WITH_EMBEDDINGS)}
    needs = {WITH_FEW_SHOT: FEW_SHOT in labelers, WITH_EMBEDDINGS: bool(embeddings)}
    return {name: parts for name, parts in found.items() if len(parts) > 1 and needs.get(name, True)}


def with_mixtures(answers: Mapping[str, FloatArray], embeddings: Sequence[str]) -> dict[str, FloatArray]:
    """Return the answers (queries, labels) by labeler with those of the mixtures that they allow."""
    mixed = mixtures(tuple(answers), embeddings)
    return {**answers, **{name: _mix(answers, parts) for name, parts in mixed.items()}}


def answer_by(
    name: str,
    labels: Sequence[str],
    demonstrations: Sequence[Demonstration],
    installed: Installed,
    queries: Sequence[ClipFeatures],
    labelers: Sequence[str],
) -> FloatArray:
    """Return the answers (queries, labels) of one labeler or mixture, not calibrated.

    labelers: the names of all that the demonstrations allow, of which a mixture takes its parts.
    """
    parts = mixtures(labelers, installed.embeddings).get(name)
    needed: Iterable[str] = parts or [name]
    built = build_labelers(needed, labels, demonstrations, installed)
    answers = {one: labeler.probabilities(queries) for one, labeler in built.items()}
    return _mix(answers, parts) if parts else answers[name]


def _parts(name: str, labelers: Sequence[str], embeddings: Sequence[str]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for part, temperature in MIXTURES[name].items():
        way = part.removesuffix(_EMBEDDING)
        if way == part:
            parts[part] = temperature
        else:
            parts |= {f"{way} {one}": temperature * len(embeddings) for one in embeddings}
    return {part: temperature for part, temperature in parts.items() if part in labelers}


def _mix(answers: Mapping[str, FloatArray], parts: Mapping[str, float]) -> FloatArray:
    logits = [log_probabilities(answers[name]) / temperature for name, temperature in parts.items()]
    return softmax(np.sum(logits, axis=0))
