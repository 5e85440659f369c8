"""The pooled latent of a clip: mean and deviation over time of the encoder's latents, before any rounding to
codes. It says how a clip sounds as a whole, in a few hundred numbers, and two clips are compared by it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from core.codes import Float16Array

LARGEST = float(np.finfo(np.float16).max)


def frame_sums(latents: Tensor) -> Tensor:
    """Latents (D, T) to (2, D) float64 on the CPU: their sum and the sum of their squares over time."""
    frames = latents.double()
    return torch.stack((frames.sum(-1), frames.square().sum(-1))).cpu()


def pooled_latent(sums: Sequence[Tensor], frames: int, dim: int) -> Float16Array:
    """The sums of a clip's windows, first to last, to (2, D) float16: mean and deviation over its frames.

    Float64 until the last step, so that half precision keeps nothing of how a clip was cut. No frames give
    zeros.
    """
    total = torch.zeros(2, dim, dtype=torch.float64)
    for one in sums:
        total += one
    mean, square = total / max(1, frames)
    deviation = (square - mean.square()).clamp(min=0.0).sqrt()
    pooled = torch.stack((mean, deviation)).clamp(-LARGEST, LARGEST)
    latent: Float16Array = pooled.numpy().astype(np.float16)
    return latent
