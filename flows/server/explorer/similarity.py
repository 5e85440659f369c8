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
    return _unit(np.frombuffer(data, "<f2").reshape(len(latents), -1).astype(np.float32))


def unit_vectors(vectors: Sequence[Sequence[float]]) -> Latents:
    """Return unit vectors (clips, D); zeros stay zeros."""
    return _unit(np.array(vectors, np.float32))


def _unit(rows: Latents) -> Latents:
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
    strengths, vectors = np.linalg.eigh(centered.T @ centered)  # ascending, a column each
    axes = vectors[:, :-3:-1].T
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points = centered @ axes.T
    spread = np.maximum(np.ptp(points, axis=0), 1e-9)
    total = float(strengths.sum())
    kept = min(float(strengths[-2:].sum()) / total, 1.0) if total > 0 else 1.0
    scaled: NDArray[np.float32] = (points - points.min(axis=0)) / spread
    return scaled, kept
