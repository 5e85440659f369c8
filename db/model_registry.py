"""The models whose fingerprints are in rows: codecs with the words of their codebooks, and language
models.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Integer, SmallInteger, Text, cast, column, func, literal, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import CodebookWord, Codec, Llm


def ensure_codec(
    session: Session, fingerprint: str, name: str, config: Mapping[str, Any], words: Sequence[Sequence[str]]
) -> int:
    """Return the id of the codec with this fingerprint; register it with its words if it is new.

    `config` has the codec's config.json fields, of which sample_rate, codebook_sizes and what gives the
    samples of a code are read; `words[layer][code]` is a code's word, a layer without words is empty.
    """
    new_id = session.scalar(
        insert(Codec)
        .values(
            fingerprint=fingerprint,
            name=name,
            config=dict(config),
            sample_rate=config["sample_rate"],
            codebook_sizes=list(config["codebook_sizes"]),
            code_samples=_code_samples(config),
        )
        .on_conflict_do_nothing()
        .returning(Codec.id)
    )
    if new_id is None:
        return session.scalars(select(Codec.id).where(Codec.fingerprint == fingerprint)).one()
    for layer, spelled in enumerate(words):
        _insert_words(session, new_id, layer, spelled)
    return new_id


def _code_samples(config: Mapping[str, Any]) -> list[int]:
    """Return the samples of a code of each layer: strides of frames, or one frame in a codec without them."""
    if "vq_strides" not in config:
        return [config["hop_length"]] * len(config["codebook_sizes"])
    hop_length = math.prod(config["encoder_rates"])
    return [hop_length * stride for stride in config["vq_strides"]]


def registered_codec(session: Session, fingerprint: str) -> int | None:
    """Return the id of the codec with this fingerprint, or None if it is new."""
    return session.scalar(select(Codec.id).where(Codec.fingerprint == fingerprint))


def _insert_words(session: Session, codec_id: int, layer: int, words: Sequence[str]) -> None:
    """Insert a whole layer in one statement: 32,000 rows as one array are far cheaper than as rows."""
    spelled = (
        func.unnest(cast(list(words), ARRAY(Text)))
        .table_valued(column("word", Text), with_ordinality="position", name="spelled")
        .render_derived()
    )
    code = cast(spelled.c.position - 1, SmallInteger)
    rows = select(literal(codec_id, Integer), literal(layer, SmallInteger), code, spelled.c.word)
    session.execute(insert(CodebookWord).from_select(["codec_id", "layer", "code", "word"], rows))


def ensure_llm(session: Session, fingerprint: str, name: str) -> int:
    """Return the id of the language model with this fingerprint; register it if it is new."""
    session.execute(insert(Llm).values(fingerprint=fingerprint, name=name).on_conflict_do_nothing())
    return session.scalars(select(Llm.id).where(Llm.fingerprint == fingerprint)).one()


def find_llm(session: Session, fingerprint: str) -> int | None:
    """Return the id of the language model with this fingerprint; None if it was never registered."""
    return session.scalar(select(Llm.id).where(Llm.fingerprint == fingerprint))


def find_codec(session: Session, beginning: str) -> int:
    """Return the id of the one codec whose fingerprint begins with `beginning`.

    Raises ValueError otherwise.
    """
    begins = func.starts_with(Codec.fingerprint, beginning)
    found = session.scalars(select(Codec.id).where(begins)).all()
    if len(found) != 1:
        known = session.execute(select(Codec.name, Codec.fingerprint).order_by(Codec.id))
        listed = ", ".join(f"{name} {fingerprint[:12]}" for name, fingerprint in known)
        raise ValueError(f"{len(found)} codecs have a fingerprint that begins with {beginning}: {listed}")
    return found[0]
