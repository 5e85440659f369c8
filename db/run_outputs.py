"""The outputs of a run, for verification: samples in the order of digests, which is arbitrary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from db import exports
from db.clips import ClipToTokenize
from db.events import HeardEvent, events_of_sets
from db.exports import Digests
from db.models import (
    Clip,
    Codec,
    DemonstrationSet,
    EmbeddingModel,
    EventSet,
    ExportRow,
    GeneratedAudio,
    Llm,
    PredictionRow,
    TokenSequence,
)
from db.tokens import stored_layers

LIBRARY = DemonstrationSet.name.concat("@").concat(DemonstrationSet.version)


@dataclass(frozen=True)
class TokenSample:
    """Codes of a content, and a current clip with its bytes."""

    clip: ClipToTokenize
    content_sha256: bytes
    codec: str
    codes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class AnswerSample:
    """An answer with its models (by fingerprint) and its library (NAME@VERSION)."""

    work_key: bytes
    content_sha256: bytes
    library: str
    codec: str
    llm: str | None
    label: str
    probabilities: Mapping[str, Any]
    labeler: str
    calibration: Mapping[str, Any] | None


@dataclass(frozen=True)
class EventsSample:
    """The events of a content, with the models (by fingerprint) and the library (NAME@VERSION)."""

    work_key: bytes
    content_sha256: bytes
    library: str
    codec: str
    embedding: str
    labeler: str
    events: Sequence[HeardEvent]


@dataclass(frozen=True)
class AudioSample:
    """Generated audio with its models (by fingerprint) and its library (NAME@VERSION).

    Only an answer in context has an LLM and codes, any other a denoiser.
    """

    work_key: bytes
    task: str
    method: str
    text: str | None
    content_sha256: bytes | None
    library: str
    codec: str
    llm: str | None
    denoiser: str | None
    codes: tuple[list[int] | None, list[int] | None, list[int] | None]
    uri: str
    sha256: bytes


def sample_tokens(session: Session, run_id: UUID, limit: int) -> list[TokenSample]:
    """Return tokens written by a run whose bytes are still those of a current clip."""
    stored = TokenSequence
    rows = session.execute(
        select(
            *(Clip.id, Clip.uri, Clip.version_token, Clip.size),
            *(stored.content_sha256, Codec.fingerprint, Codec.code_samples, stored.codes),
            *(stored.semantic, stored.acoustic1, stored.acoustic2),
        )
        .join(Clip, Clip.content_sha256 == stored.content_sha256)
        .join(Codec, Codec.id == stored.codec_id)
        .where(stored.run_id == run_id, Clip.missing_since.is_(None))
        .distinct(stored.content_sha256)
        .order_by(stored.content_sha256, Clip.uri)
        .limit(limit)
    )
    return [
        TokenSample(
            ClipToTokenize(*clip), sha256, codec, stored_layers((first, second, third), codes, samples)
        )
        for *clip, sha256, codec, samples, codes, first, second, third in rows
    ]


def sample_answers(session: Session, run_id: UUID, limit: int) -> list[AnswerSample]:
    """Return answers written by a run, including retracted ones."""
    stored = PredictionRow
    rows = session.execute(
        select(
            *(stored.work_key, stored.content_sha256, LIBRARY, Codec.fingerprint, Llm.fingerprint),
            *(stored.label, stored.probabilities, stored.labeler, stored.calibration),
        )
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .join(Codec, Codec.id == stored.codec_id)
        .outerjoin(Llm, Llm.id == stored.llm_id)
        .where(stored.run_id == run_id)
        .order_by(stored.content_sha256)
        .limit(limit)
    )
    return [AnswerSample(*row) for row in rows]


def sample_events(session: Session, run_id: UUID, limit: int) -> list[EventsSample]:
    """Return the events of contents that a run heard, including retracted ones."""
    stored = EventSet
    rows = session.execute(
        select(
            *(stored.id, stored.work_key, stored.content_sha256, LIBRARY),
            *(Codec.fingerprint, EmbeddingModel.fingerprint, stored.labeler),
        )
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .join(Codec, Codec.id == stored.codec_id)
        .join(EmbeddingModel, EmbeddingModel.id == stored.embedding_model_id)
        .where(stored.run_id == run_id)
        .order_by(stored.content_sha256)
        .limit(limit)
    ).all()
    events = events_of_sets(session, [set_id for set_id, *_ in rows])
    return [_events_sample(row, events[row[0]]) for row in rows]


def _events_sample(row: Row[Any], events: Sequence[HeardEvent]) -> EventsSample:
    _, key, content, library, codec, embedding, labeler = row
    return EventsSample(key, content, library, codec, embedding, labeler, events)


def sample_audio(session: Session, run_id: UUID, limit: int) -> list[AudioSample]:
    """Return audio generated by a run, including retracted audio."""
    stored = GeneratedAudio
    rows = session.execute(
        select(
            *(stored.work_key, stored.task, stored.method, stored.text, stored.content_sha256),
            *(LIBRARY, Codec.fingerprint, Llm.fingerprint, stored.denoiser_fingerprint),
            *(stored.semantic, stored.acoustic1, stored.acoustic2, stored.uri, stored.sha256),
        )
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .join(Codec, Codec.id == stored.codec_id)
        .outerjoin(Llm, Llm.id == stored.llm_id)
        .where(stored.run_id == run_id)
        .order_by(stored.work_key)
        .limit(limit)
    )
    return [_audio_sample(row) for row in rows]


def _audio_sample(row: Row[Any]) -> AudioSample:
    *made_by, semantic, acoustic1, acoustic2, uri, sha256 = row
    key, task, method, text, content, library, codec, llm, denoiser = made_by
    codes = (semantic, acoustic1, acoustic2)
    return AudioSample(key, task, method, text, content, library, codec, llm, denoiser, codes, uri, sha256)


def get_file_digests(session: Session, run_id: UUID) -> Digests:
    """Return the latest digest of each file that a run exported or generated."""
    complete = exports.exports(ExportRow.run_id == run_id, ExportRow.completed_at.is_not(None))
    files: dict[str, bytes | None] = {}
    for row in session.execute(complete.order_by(ExportRow.completed_at)):
        files |= exports.Export(*row).digests
    stored = GeneratedAudio
    generated = session.execute(select(stored.uri, stored.sha256).where(stored.run_id == run_id))
    return files | dict(generated.tuples().all())
