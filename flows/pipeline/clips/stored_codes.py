"""Stored tokens and embeddings as labelers read them, and the quarantine of contents that none can use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AudioRejected, BadCodes
from db.embeddings import get_embeddings
from db.engine import session_scope
from db.quarantine import quarantine_contents
from db.tokens import TokensOfContent
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from core.in_context.baselines import FloatArray
    from core.in_context.features import ClipFeatures
    from core.tokens.clip_codes import ClipCodes


def clip_codes(tokens: TokensOfContent) -> ClipCodes:
    """Return stored tokens as arrays."""
    import numpy as np

    from core.tokens.clip_codes import ClipCodes, code_array

    layers = tuple(map(code_array, tokens.codes))
    latent = None if tokens.latent is None else np.array(tokens.latent, np.float16)
    return ClipCodes(layers, np.array(tokens.levels, np.int16), latent, _per_block(tokens))


def _per_block(tokens: TokensOfContent) -> tuple[int, ...]:
    """Return the codes of each layer per block, which has two semantic codes in the LLM-Codec."""
    from core.tokens.clip_codes import CODES_PER_BLOCK

    ratios = tuple(count // CODES_PER_BLOCK[0] for count in CODES_PER_BLOCK)
    return CODES_PER_BLOCK if tokens.codes_per_first == ratios else tokens.codes_per_first


def readable_codes(
    stored: Mapping[bytes, TokensOfContent],
) -> tuple[dict[bytes, ClipCodes], dict[bytes, AudioRejected]]:
    """Return the codes by content, and the rejections of contents whose latent is not finite.

    Earlier versions stored such latents.
    """
    readable, rejected = {}, {}
    for content, tokens in stored.items():
        try:
            readable[content] = clip_codes(tokens)
        except BadCodes as error:
            rejected[content] = AudioRejected("not_finite", str(error))
    return readable, rejected


def clip_features(runtime: Runtime, codes: Mapping[bytes, ClipCodes]) -> dict[bytes, ClipFeatures]:
    """Return the codes by content with all embeddings that are stored of it."""
    import numpy as np

    from core.in_context.features import ClipFeatures

    vectors: dict[bytes, dict[str, FloatArray]] = {content: {} for content in codes}
    scores: dict[bytes, dict[str, FloatArray]] = {content: {} for content in codes}
    with session_scope(runtime.engine) as session:
        for name, model in runtime.known_embeddings.items():
            for content, stored in get_embeddings(session, model.id, list(codes)).items():
                vectors[content][name] = np.array(stored.embedding, np.float64)
                if stored.scores is not None:
                    scores[content][name] = np.array(stored.scores, np.float64)
    return {one: ClipFeatures(codes[one], vectors[one], scores[one]) for one in codes}


def quarantine(session: Session, stage: str, run_id: UUID, rejected: Mapping[bytes, AudioRejected]) -> Counts:
    """Quarantine the current clips of these contents at a stage, and count them by reason."""
    reasons = {content: (why.reason, why.message) for content, why in rejected.items()}
    counted = quarantine_contents(session, stage, run_id, reasons)
    return Counts(quarantined=counted.total()) + Counts(
        {f"quarantined:{reason}": number for reason, number in counted.items()}
    )
