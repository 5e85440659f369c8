"""Contents, their codes and pooled latents: one row per content and codec, written with the clip's link."""

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import accumulate, chain
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from db.base import among
from db.bulk_insert import insert_new
from db.clips import link_contents
from db.embeddings import ContentEmbedding, save_embeddings
from db.models import Codec, Content, PooledLatent, TokenSequence

Codes = Sequence[Sequence[int]]
"""Codes of one clip, layer by layer, coarse to fine (not token ids)."""

MAX_SMALL_SIZE = 2**15
"""Rows of a codebook whose codes fit a smallint."""

Latent = tuple[Sequence[float], Sequence[float]]
"""Mean and deviation over time of a codec's latents, of equal length; stored in half precision."""


@dataclass(frozen=True)
class TokenizedContent:
    """The result of tokenizing one clip. `num_samples` are frames at the source rate, `peak` is linear.

    `levels` is the RMS under each semantic code, in tenths of dB. `clip_id` is None for audio that is not a
    clip, such as a demonstration.
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
    latent: Latent
    embeddings: Sequence[ContentEmbedding] = ()


@dataclass(frozen=True)
class TokensOfContent:
    """Stored codes and levels of one content; `duration` in seconds of the source.

    `latent` is None for tokens stored before there were pooled latents. `codes_per_first` is the number of
    codes of each layer to a code of the first one.
    """

    content_sha256: bytes
    duration: float
    codes: tuple[tuple[int, ...], ...]
    levels: tuple[int, ...]
    latent: tuple[tuple[float, ...], tuple[float, ...]] | None
    codes_per_first: tuple[int, ...]


def save_tokens(session: Session, codec_id: int, run_id: UUID, batch: Sequence[TokenizedContent]) -> None:
    """Write contents, codes, latents, embeddings and clip links of a batch; rows that exist do not change.

    Rows are inserted in order of sha256, so that concurrent batches with common contents wait for each other
    instead of deadlocking. The table rejects arrays whose lengths do not divide each other.
    """
    ordered = sorted(batch, key=lambda tokenized: tokenized.sha256)
    stored = _stored_contents(session, [tokenized.sha256 for tokenized in ordered])
    insert_new(session, Content, [_content_row(t) for t in ordered if t.sha256 not in stored])
    form = _form(session, codec_id)
    rows = [_sequence_row(tokenized, codec_id, run_id, form) for tokenized in ordered]
    insert_new(session, TokenSequence, rows)
    insert_new(session, PooledLatent, [_latent_row(tokenized, codec_id, run_id) for tokenized in ordered])
    save_embeddings(session, run_id, [(one.sha256, given) for one in ordered for given in one.embeddings])
    link_contents(session, {t.clip_id: t.sha256 for t in batch if t.clip_id is not None})


def _stored_contents(session: Session, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents that another codec has tokenized."""
    wanted = among(Content.sha256, contents)
    return set(session.scalars(select(Content.sha256).where(wanted)))


def _content_row(tokenized: TokenizedContent) -> dict[str, object]:
    return {
        "sha256": tokenized.sha256,
        "sample_rate": tokenized.sample_rate,
        "channels": tokenized.channels,
        "num_samples": tokenized.num_samples,
        "format": tokenized.format,
        "peak": float(tokenized.peak),
    }


class Form(Enum):
    """The columns that have the codes of a codec."""

    THREE_LAYERS = auto()
    ANY_LAYERS = auto()
    WIDE = auto()


def _form(session: Session, codec_id: int) -> Form:
    """Return how the codes of a codec are stored: the LLM-Codec's three layers in columns of their own."""
    columns = select(Codec.codebook_sizes, Codec.code_samples).where(Codec.id == codec_id)
    sizes, samples = session.execute(columns).one()
    if sizes[0] > MAX_SMALL_SIZE:
        return Form.WIDE
    is_llm_codec = len(set(samples)) == len(sizes) == 3 and max(sizes) <= MAX_SMALL_SIZE
    return Form.THREE_LAYERS if is_llm_codec else Form.ANY_LAYERS


def _sequence_row(
    tokenized: TokenizedContent, codec_id: int, run_id: UUID, form: Form = Form.THREE_LAYERS
) -> dict[str, object]:
    layers = [_plain(layer) for layer in tokenized.codes]
    columns: dict[str, object]
    if form is Form.THREE_LAYERS:
        columns = dict(zip(("semantic", "acoustic1", "acoustic2"), layers, strict=True))
    else:
        first = None if form is Form.WIDE else layers[0]
        columns = {"semantic": first, "acoustic1": None, "acoustic2": None, "codes": list(chain(*layers))}
    return {
        "content_sha256": tokenized.sha256,
        "codec_id": codec_id,
        **columns,
        "levels": _plain(tokenized.levels),
        "run_id": run_id,
    }


def stored_layers(
    columns: tuple[list[int] | None, list[int] | None, list[int] | None],
    codes: list[int] | None,
    code_samples: Sequence[int],
) -> tuple[tuple[int, ...], ...]:
    """Return the layers of stored codes: those of the three columns, or all that are in `codes`."""
    if codes is None:
        return tuple(tuple(layer) for layer in columns if layer is not None)
    weights = _codes_per_first(code_samples)
    unit = len(codes) // sum(weights)
    ends = list(accumulate(unit * weight for weight in weights))
    return tuple(tuple(codes[end - unit * weight : end]) for end, weight in zip(ends, weights, strict=True))


def _codes_per_first(code_samples: Sequence[int]) -> tuple[int, ...]:
    return tuple(code_samples[0] // samples for samples in code_samples)


def _latent_row(tokenized: TokenizedContent, codec_id: int, run_id: UUID) -> dict[str, object]:
    mean, deviation = tokenized.latent
    return {
        "content_sha256": tokenized.sha256,
        "codec_id": codec_id,
        "mean": _packed(mean),
        "deviation": _packed(deviation),
        "run_id": run_id,
    }


def _packed(numbers: Sequence[float]) -> bytes:
    """Pack numbers in half precision, little-endian. Raises OverflowError for larger ones."""
    return struct.pack(f"<{len(numbers)}e", *numbers)


def _unpacked(halves: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(halves) // 2}e", halves)


def _plain(numbers: Sequence[int]) -> list[int]:
    """Return built-in ints: the driver does not know numpy's."""
    return [int(number) for number in numbers]


def contents_with_tokens(session: Session, codec_id: int, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents (by sha256) that have tokens of the codec."""
    return set(session.scalars(select(TokenSequence.content_sha256).where(_of(codec_id, contents))))


def contents_with_latents(session: Session, codec_id: int, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents that have tokens and a pooled latent of the codec."""
    with_latent = select(TokenSequence.content_sha256).join(PooledLatent).where(_of(codec_id, contents))
    return set(session.scalars(with_latent))


def prune_tokens(session: Session, codec_id: int) -> int:
    """Delete the codes and latents of a codec for all contents; return the number of contents.

    Answers computed from them stay.
    """
    session.execute(delete(PooledLatent).where(PooledLatent.codec_id == codec_id))
    deleted = session.execute(delete(TokenSequence).where(TokenSequence.codec_id == codec_id))
    return deleted.rowcount  # type: ignore[attr-defined, no-any-return]


def get_token_sequences(
    session: Session, codec_id: int, contents: Collection[bytes]
) -> dict[bytes, TokensOfContent]:
    """Return stored tokens by content sha256, without contents that have no tokens of the codec."""
    stored, pooled = TokenSequence, PooledLatent
    layers = (stored.semantic, stored.acoustic1, stored.acoustic2, stored.codes)
    samples = session.scalars(select(Codec.code_samples).where(Codec.id == codec_id)).one_or_none() or []
    rows = session.execute(
        select(Content.sha256, Content.duration, *layers, stored.levels, pooled.mean, pooled.deviation)
        .join(stored, stored.content_sha256 == Content.sha256)
        .outerjoin(pooled)
        .where(_of(codec_id, contents))
    )
    return {
        sha256: TokensOfContent(
            sha256,
            duration,
            stored_layers((semantic, acoustic1, acoustic2), codes, samples),
            tuple(levels),
            None if mean is None else (_unpacked(mean), _unpacked(deviation)),
            _codes_per_first(samples),
        )
        for sha256, duration, semantic, acoustic1, acoustic2, codes, levels, mean, deviation in rows
    }


def _of(codec_id: int, contents: Collection[bytes]) -> ColumnElement[bool]:
    wanted = among(TokenSequence.content_sha256, contents)
    return (TokenSequence.codec_id == codec_id) & wanted


def token_lengths(session: Session, codec_id: int, contents: Collection[bytes]) -> list[int]:
    """Return the number of semantic codes of each content with tokens, ascending."""
    lengths = func.cardinality(TokenSequence.levels)
    return list(session.scalars(select(lengths).where(_of(codec_id, contents)).order_by(lengths)))
