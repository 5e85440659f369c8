"""Codes of clips, made by rule."""

from collections.abc import Iterable

import numpy as np

from core.tokens.clip_codes import ClipCodes, Float16Array, Int16Array


def clip_of(
    layers: Iterable[Int16Array], levels: Int16Array | None = None, latent: Float16Array | None = None
) -> ClipCodes:
    """Return the clip of three layers; without levels all are zero."""
    semantic, acoustic1, acoustic2 = layers
    silent = np.zeros(len(semantic), np.int16)
    return ClipCodes((semantic, acoustic1, acoustic2), silent if levels is None else levels, latent)
