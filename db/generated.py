"""Generated audio: written once per work key after its object, and found by work key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, cast, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from db.base import among
from db.bulk_insert import insert_new
from db.models import GeneratedAudio

IN_CONTEXT = "in-context"
"""The method of audio that an LLM answered by the examples in its prompt."""

Codes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class NewAudio:
    """Audio to record, after its object is stored: `uri` names it and `sha256` is the digest of its bytes.

    It answers `text`, or the clip of `content_sha256`. Codes are plain ints; `duration` is in seconds. LLM
    and codes are those of an answer in context, `denoiser_fingerprint` is of another method.
    """

    work_key: bytes
    task: str
    text: str | None
    content_sha256: bytes | None
    demonstration_set_id: int
    codec_id: int
    llm_id: int | None
    semantic: Sequence[int] | None
    acoustic1: Sequence[int] | None
    acoustic2: Sequence[int] | None
    duration: float
    uri: str
    sha256: bytes
    metrics: Mapping[str, Any]
    is_demonstration: bool
    provenance: Mapping[str, Any]
    seed: int
    method: str = IN_CONTEXT
    denoiser_fingerprint: str | None = None


@dataclass(frozen=True)
class StoredAudio:
    """A row of audio that is not retracted, without its codes."""

    work_key: bytes
    task: str
    method: str
    text: str | None
    content_sha256: bytes | None
    duration: float
    uri: str
    sha256: bytes
    metrics: Mapping[str, Any]
    is_demonstration: bool
    seed: int
    run_id: UUID
    created_at: datetime


def existing_audio(session: Session, work_keys: Collection[bytes]) -> set[bytes]:
    """Return those of the work keys that have audio that is not retracted."""
    return set(session.scalars(select(GeneratedAudio.work_key).where(_standing(work_keys))))


def save_audio(session: Session, run_id: UUID, audio: Sequence[NewAudio]) -> int:
    """Record the audio whose work key is free, and return its number."""
    ordered = sorted(audio, key=lambda one: one.work_key)
    rows = [vars(one) | {"run_id": run_id} for one in ordered]
    return insert_new(session, GeneratedAudio, rows)


def move_audio(session: Session, objects: Mapping[bytes, tuple[str, bytes]]) -> None:
    """Change the objects of audio that is not retracted: uri and SHA-256, by work key."""
    for work_key, (uri, sha256) in sorted(objects.items()):
        session.execute(update(GeneratedAudio).where(_standing([work_key])).values(uri=uri, sha256=sha256))


def add_metrics(session: Session, measured: Mapping[bytes, Mapping[str, Any]]) -> None:
    """Add measures, or replace those of the same name, to audio that is not retracted, by work key."""
    for work_key, measures in sorted(measured.items()):
        added = GeneratedAudio.metrics.op("||")(cast(dict(measures), JSONB))
        session.execute(update(GeneratedAudio).where(_standing([work_key])).values(metrics=added))


def get_audio(session: Session, work_keys: Collection[bytes]) -> dict[bytes, StoredAudio]:
    """Return the audio of these work keys that is not retracted, by work key."""
    columns = [getattr(GeneratedAudio, field.name) for field in fields(StoredAudio)]
    rows = session.execute(select(*columns).where(_standing(work_keys))).mappings()
    return {row["work_key"]: StoredAudio(**row) for row in rows}


def other_audio_of_contents(
    session: Session, demonstration_set_id: int, contents: Collection[bytes], method: str
) -> dict[bytes, list[StoredAudio]]:
    """Return audio that other methods made of these contents by a library version, by content.

    Of each method it is the newest that is not retracted; methods are in alphabetical order.
    """
    stored = GeneratedAudio
    columns = [getattr(stored, field.name) for field in fields(StoredAudio)]
    wanted = among(stored.content_sha256, contents)
    rows = session.execute(
        select(*columns)
        .where(wanted, stored.demonstration_set_id == demonstration_set_id, stored.method != method)
        .where(stored.retracted_by_run.is_(None))
        .distinct(stored.content_sha256, stored.method)
        .order_by(stored.content_sha256, stored.method, stored.id.desc())
    ).mappings()
    found: dict[bytes, list[StoredAudio]] = {}
    for row in rows:
        found.setdefault(row["content_sha256"], []).append(StoredAudio(**row))
    return found


def get_audio_codes(session: Session, work_keys: Collection[bytes]) -> dict[bytes, Codes]:
    """Return the codes of the audio of these work keys that is not retracted, coarse to fine.

    Audio that has no codes is left out.
    """
    stored = GeneratedAudio
    rows = session.execute(
        select(stored.work_key, stored.semantic, stored.acoustic1, stored.acoustic2).where(
            _standing(work_keys), stored.semantic.is_not(None)
        )
    )
    return {
        key: (tuple(first or ()), tuple(second or ()), tuple(third or ()))
        for key, first, second, third in rows
    }


def _standing(work_keys: Collection[bytes]) -> ColumnElement[bool]:
    return among(GeneratedAudio.work_key, work_keys) & GeneratedAudio.retracted_by_run.is_(None)
