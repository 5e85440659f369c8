"""Made-up libraries: clips of a few labels whose codes, latents and embeddings tell them apart or not."""

from collections.abc import Sequence

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.choosing import Demonstration
from core.in_context.features import ClipFeatures
from tests.core.made_clips import clip_of

CLASSES = ("Church bell", "Animal, dog", "Rain")


def make_clip(
    label: int, seed: int, *, latents: float = 0.3, log_mel: float = 0.3, tagger: float = 0.1
) -> ClipFeatures:
    """Make a clip of a label by number; its vectors are so far from its label's."""
    rng = np.random.default_rng([seed, label])

    def about(size: int, noise: float) -> FloatArray:
        vector: FloatArray = np.eye(size)[label] + noise * rng.standard_normal(size)
        return vector

    layers = (rng.integers(20 * label, 20 * label + 40, n * 6).astype(np.int16) for n in (2, 4, 8))
    latent = np.stack([about(16, latents), np.abs(about(16, latents))]).astype(np.float16)
    codes = clip_of(layers, latent=latent)
    scores = np.full(len(CLASSES), 0.1) + 0.8 * (np.arange(len(CLASSES)) == label)
    vectors = {"log-mel": about(24, log_mel), "tagger": about(32, tagger)}
    return ClipFeatures(codes, vectors, {"tagger": scores})


def make_library(labels: Sequence[str], shots: int, *, first: int = 0, **noise: float) -> list[Demonstration]:
    """Make so many demonstrations of each label, from the first seed on."""
    pairs = [(number, label, first + shot) for number, label in enumerate(labels) for shot in range(shots)]
    return [Demonstration(make_clip(number, seed, **noise), label) for number, label, seed in pairs]
