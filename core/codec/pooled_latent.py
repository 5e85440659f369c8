"""The pooled latent of a clip: mean and deviation over time of the encoder's latents, before any rounding to
codes. It says how a clip sounds as a whole, in a few hundred numbers, and two clips are compared by it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.tokens.clip_codes import Float16Array

Latents = NDArray[np.float32]
Sums = NDArray[np.float64]

LARGEST = float(np.finfo(np.float16).max)


def frame_sums(latents: Latents) -> Sums:
    """Latents (D, T) to (2, D) float64: their sum and the sum of their squares over time."""
    frames = latents.astype(np.float64)
    return np.stack((frames.sum(-1), np.square(frames).sum(-1)))


def pooled_latent(sums: Sequence[Sums], frames: int, dim: int) -> Float16Array:
    """The sums of a clip's windows, first to last, to (2, D) float16: mean and deviation over its frames.

    Float64 until the last step, so that half precision keeps nothing of how a clip was cut. No frames give
    zeros.
    """
    total = np.zeros((2, dim))
    for one in sums:
        total += one
    mean, square = total / max(1, frames)
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    latent: Float16Array = np.stack((mean, deviation)).clip(-LARGEST, LARGEST).astype(np.float16)
    return latent
