"""Stored tokens as the models read them, and the quarantine of contents that no model can use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from core.errors import AudioRejected, BadCodes
from db.quarantine import quarantine_contents
from db.tokens import TokensOfContent
from flows.pipeline.runs.counts import Counts

if TYPE_CHECKING:
    from core.tokens.clip_codes import ClipCodes


def clip_codes(tokens: TokensOfContent) -> ClipCodes:
    """Return stored tokens as arrays."""
    import numpy as np

    from core.tokens.clip_codes import ClipCodes

    semantic, acoustic1, acoustic2 = (np.array(layer, np.int16) for layer in tokens.codes)
    latent = None if tokens.latent is None else np.array(tokens.latent, np.float16)
    return ClipCodes(semantic, acoustic1, acoustic2, np.array(tokens.levels, np.int16), latent)


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


def quarantine(session: Session, stage: str, run_id: UUID, rejected: Mapping[bytes, AudioRejected]) -> Counts:
    """Quarantine the current clips of these contents at a stage, and count them by reason."""
    reasons = {content: (why.reason, why.message) for content, why in rejected.items()}
    counted = quarantine_contents(session, stage, run_id, reasons)
    return Counts(quarantined=counted.total()) + Counts(
        {f"quarantined:{reason}": number for reason, number in counted.items()}
    )
