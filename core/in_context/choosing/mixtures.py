"""Mixtures: the sum of several labelers' log probabilities, each divided by its temperature.

On single sets of clips other single labelers are best; a mixture is close to the best one on all of them. Its
own probabilities are too sure, as its parts often make the same mistake, and are calibrated as any labeler's.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from core.in_context.baselines import FloatArray, softmax
from core.in_context.calibration import log_probabilities
from core.in_context.choosing.dev_prior import MIXTURE_TEMPERATURES
from core.in_context.choosing.labelers import CLASS_MEAN, FEW_SHOT, LOGISTIC, NEAREST_LATENTS, NEAREST_TOKENS

MIXTURE, WITH_FEW_SHOT, WITH_EMBEDDINGS = "mixture", "mixture with few-shot", "mixture with embeddings"

FREE_PARTS = (NEAREST_TOKENS, NEAREST_LATENTS, f"{LOGISTIC} latents", f"{LOGISTIC} log-mel")
"""What a mixture consists of that needs no model, as far as the clips have it."""

_INSTALLED = "embedding"


def with_mixtures(answers: Mapping[str, FloatArray], embeddings: tuple[str, ...]) -> dict[str, FloatArray]:
    """Return the answers (queries, labels) by labeler with those of the mixtures that they allow."""
    return {**answers, **{name: _mix(answers, parts) for name, parts in mixtures(tuple(answers), embeddings)}}


def mixtures(
    labelers: tuple[str, ...], embeddings: tuple[str, ...]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the names of the mixtures of these labelers, with the temperature of each part."""
    free = {name: MIXTURE_TEMPERATURES[name] for name in FREE_PARTS if name in labelers}
    if len(free) > 1:
        yield MIXTURE, free
    if free and FEW_SHOT in labelers:
        yield WITH_FEW_SHOT, {**free, FEW_SHOT: MIXTURE_TEMPERATURES[FEW_SHOT]}
    ways = [(way, f"{way} {name}") for name in embeddings for way in (CLASS_MEAN, LOGISTIC)]
    if free and ways:
        own = {name: MIXTURE_TEMPERATURES[f"{way} {_INSTALLED}"] * len(embeddings) for way, name in ways}
        yield WITH_EMBEDDINGS, free | {name: at for name, at in own.items() if name in labelers}


def _mix(answers: Mapping[str, FloatArray], parts: Mapping[str, float]) -> FloatArray:
    logits = [log_probabilities(answers[name]) / temperature for name, temperature in parts.items()]
    return softmax(np.sum(logits, axis=0))
