"""Similarity of clips by pooled latent, and a map of them on a plane.

The similarity is that of core.in_context.latents: the cosine of mean and deviation, one after the other.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Latents = NDArray[np.float32]


def directions(latents: Sequence[tuple[bytes, bytes]]) -> Latents:
    """Return unit vectors (clips, 2 D) of stored means and deviations; zeros stay zeros."""
    data = b"".join(part for latent in latents for part in latent)
    rows = np.frombuffer(data, "<f2").reshape(len(latents), -1).astype(np.float32)
    unit: Latents = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit


def nearest(query: Latents, others: Latents, count: int) -> list[tuple[int, float]]:
    """Return the numbers and cosines of the `count` nearest of (clips, 2 D), the nearest first."""
    cosines = others @ query
    order = np.argsort(-cosines, kind="stable")[:count]
    return [(int(at), float(cosines[at])) for at in order]


def plane(unit: Latents) -> tuple[NDArray[np.float32], float]:
    """Return two principal components (clips, 2) scaled to 0 to 1, and the share of variance they keep.

    Signs are fixed, so that the same clips always give the same map.
    """
    centered = unit - unit.mean(axis=0)
    _, strengths, axes = np.linalg.svd(centered, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    points = centered @ axes.T
    spread = np.maximum(np.ptp(points, axis=0), 1e-9)
    total = float((strengths**2).sum())
    kept = float((strengths[:2] ** 2).sum()) / total if total else 1.0
    scaled: NDArray[np.float32] = (points - points.min(axis=0)) / spread
    return scaled, kept
