"""Stored windows of clips as labelers of windows read them."""

import numpy as np

from core.events.windows import ClipWindows
from core.in_context.baselines import FloatArray
from db.embeddings import Tags
from db.tokens import TokensOfContent


def with_vectors(tokens: TokensOfContent, halves: bytes, dimensions: int) -> ClipWindows:
    """Return a clip with the embedding of each window, stored in half precision."""
    vectors = np.frombuffer(halves, "<f2").reshape(-1, dimensions).astype(np.float64)
    return ClipWindows(tokens.duration, np.array(tokens.levels, np.int16), vectors=vectors)


def with_scores(tokens: TokensOfContent, tags: Tags, classes: int) -> ClipWindows:
    """Return a clip with the scores of a tagger's best classes in each window; the others count as 0."""
    scores: FloatArray = np.zeros((max(tags.windows) + 1, classes))
    scores[list(tags.windows), list(tags.classes)] = tags.scores
    return ClipWindows(tokens.duration, np.array(tokens.levels, np.int16), scores=scores)
