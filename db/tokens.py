"""Contents and their codes: one row per content and codec, written together with the clip's link."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, LargeBinary, any_, cast, select
from sqlalchemy.orm import Session

from db.bulk import insert_new
from db.clips import link_contents
from db.models import Content, TokenSequence

Codes = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Codes of one clip, coarse to fine: semantic, acoustic1, acoustic2 (not token ids)."""


@dataclass(frozen=True)
class TokenizedContent:
    """What tokenizing one clip found. `num_samples` are frames at the source rate, `peak` is linear.

    `levels` is the RMS of the span under each semantic code, in tenths of dB. `clip_id` is None for audio
    that is no clip, such as a demonstration.
    """

    clip_id: int | None
    sha256: bytes
    sample_rate: int
    channels: int
    num_samples: int
    format: str
    peak: float
    codes: Codes
    levels: Sequence[int]


@dataclass(frozen=True)
class TokensOfContent:
    """Stored codes and levels of one content; `duration` in seconds of the source."""

    content_sha256: bytes
    duration: float
    codes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    levels: tuple[int, ...]


def save_tokens(session: Session, codec_id: int, run_id: UUID, batch: Sequence[TokenizedContent]) -> None:
    """Writes contents, codes and clip links of a batch; what is stored already stays as it is.

    Rows go in by rising sha256, so that concurrent batches with contents in common wait for each other
    instead of deadlocking. The table refuses arrays whose lengths do not divide each other.
    """
    ordered = sorted(batch, key=lambda tokenized: tokenized.sha256)
    insert_new(session, Content, [_content_row(tokenized) for tokenized in ordered])
    insert_new(session, TokenSequence, [_sequence_row(tokenized, codec_id, run_id) for tokenized in ordered])
    link_contents(session, {t.clip_id: t.sha256 for t in batch if t.clip_id is not None})


def _content_row(tokenized: TokenizedContent) -> dict[str, object]:
    return {
        "sha256": tokenized.sha256,
        "sample_rate": tokenized.sample_rate,
        "channels": tokenized.channels,
        "num_samples": tokenized.num_samples,
        "format": tokenized.format,
        "peak": float(tokenized.peak),
    }


def _sequence_row(tokenized: TokenizedContent, codec_id: int, run_id: UUID) -> dict[str, object]:
    semantic, acoustic1, acoustic2 = tokenized.codes
    return {
        "content_sha256": tokenized.sha256,
        "codec_id": codec_id,
        "semantic": _plain(semantic),
        "acoustic1": _plain(acoustic1),
        "acoustic2": _plain(acoustic2),
        "levels": _plain(tokenized.levels),
        "run_id": run_id,
    }


def _plain(numbers: Sequence[int]) -> list[int]:
    """Built-in ints: the driver does not know numpy's."""
    return [int(number) for number in numbers]


def known_contents(session: Session, codec_id: int, contents: Collection[bytes]) -> set[bytes]:
    """Those of the contents (by sha256) that have tokens of the codec."""
    return set(session.scalars(select(TokenSequence.content_sha256).where(_of(codec_id, contents))))


def get_token_sequences(
    session: Session, codec_id: int, contents: Collection[bytes]
) -> dict[bytes, TokensOfContent]:
    """Stored tokens by content sha256; contents without tokens of the codec are left out."""
    stored = TokenSequence
    rows = session.execute(
        select(
            Content.sha256,
            Content.duration,
            stored.semantic,
            stored.acoustic1,
            stored.acoustic2,
            stored.levels,
        )
        .join(stored, stored.content_sha256 == Content.sha256)
        .where(_of(codec_id, contents))
    )
    return {
        sha256: TokensOfContent(
            sha256, duration, (tuple(semantic), tuple(acoustic1), tuple(acoustic2)), tuple(levels)
        )
        for sha256, duration, semantic, acoustic1, acoustic2, levels in rows
    }


def _of(codec_id: int, contents: Collection[bytes]) -> ColumnElement[bool]:
    among = TokenSequence.content_sha256 == any_(cast(sorted(contents), ARRAY(LargeBinary)))
    return (TokenSequence.codec_id == codec_id) & among
