"""Vectors by which clips of a review are compared: what sounds alike is asked about once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from db.engine import session_scope
from db.reviews.queue import latents_of
from db.tokens import get_token_sequences
from flows.pipeline.clips.stored_codes import clip_features, readable_codes
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.in_context.baselines import FloatArray
    from core.in_context.features import ClipFeatures


def review_features(runtime: Runtime, contents: Collection[bytes]) -> dict[bytes, ClipFeatures]:
    """Return all that is stored of these contents, without those that have no tokens of the codec."""
    with session_scope(runtime.engine) as session:
        stored = get_token_sequences(session, runtime.codec_id, sorted(contents))
    return clip_features(runtime, readable_codes(stored)[0])


def review_vectors(runtime: Runtime, contents: Collection[bytes]) -> dict[bytes, FloatArray]:
    """Return by content the vector to compare clips by, if its latent is stored."""
    import numpy as np

    with session_scope(runtime.engine) as session:
        stored = latents_of(session, runtime.codec_id, contents)
    return {
        content: np.frombuffer(mean + deviation, "<f2").astype(np.float64)
        for content, (mean, deviation) in stored.items()
    }


def is_answerable(setup: LabelingSetup, clip: ClipFeatures) -> bool:
    """Return whether a clip has all that the labeler of a version compares."""
    answering = setup.answering
    has_latent = clip.codes.latent is not None or not answering.by_latent
    return has_latent and answering.embeddings.keys() <= clip.vectors.keys()


def stacked(vectors: Mapping[bytes, FloatArray], contents: Sequence[bytes]) -> FloatArray:
    """Return (contents, D)."""
    import numpy as np

    size = len(next(iter(vectors.values())))
    return np.stack([vectors[one] for one in contents]) if contents else np.empty((0, size))
