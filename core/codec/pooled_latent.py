"""The pooled latent of a clip: mean and deviation over time of the encoder's latents, before quantization.

It describes the sound of a whole clip in a few hundred numbers; clips are compared by it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.tokens.clip_codes import Float16Array

Latents = NDArray[np.float32]
Sums = NDArray[np.float64]

LARGEST = float(np.finfo(np.float16).max)


def frame_sums(latents: Latents) -> Sums:
    """Return the sums and sums of squares over time of latents (D, T), as (2, D) float64."""
    frames = latents.astype(np.float64)
    return np.stack((frames.sum(-1), np.square(frames).sum(-1)))


def pooled_latent(sums: Sequence[Sums], frames: int, dim: int) -> Float16Array:
    """Return mean and deviation over `frames`, (2, D) float16, from the sums of a clip's windows in order.

    Computed in float64 and rounded at the end, so that half precision hides how the clip was cut. Zero frames
    give zeros.
    """
    total = np.zeros((2, dim))
    for one in sums:
        total += one
    mean, square = total / max(1, frames)
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0.0))
    latent: Float16Array = np.stack((mean, deviation)).clip(-LARGEST, LARGEST).astype(np.float16)
    return latent
