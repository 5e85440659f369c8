"""What a run wrote, for those who check it: samples in the order of digests, which is none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import exports
from db.clips import ClipToTokenize
from db.exports import Digests
from db.models import (
    Clip,
    Codec,
    DemonstrationSet,
    ExportRow,
    GeneratedAudio,
    Llm,
    PredictionRow,
    TokenSequence,
)

LIBRARY = DemonstrationSet.name.concat("@").concat(DemonstrationSet.version)


@dataclass(frozen=True)
class TokenSample:
    """Codes of a content, and a current clip that has its bytes."""

    clip: ClipToTokenize
    content_sha256: bytes
    codec: str
    codes: tuple[list[int], list[int], list[int]]


@dataclass(frozen=True)
class AnswerSample:
    """An answer with the models (by fingerprint) and the library (NAME@VERSION) that it came from."""

    work_key: bytes
    content_sha256: bytes
    library: str
    codec: str
    llm: str | None
    label: str
    probabilities: Mapping[str, Any]


@dataclass(frozen=True)
class AudioSample:
    """Generated audio with the models (by fingerprint) and the library (NAME@VERSION) that it came from."""

    work_key: bytes
    task: str
    text: str | None
    content_sha256: bytes | None
    library: str
    codec: str
    llm: str
    codes: tuple[list[int], list[int], list[int]]
    uri: str
    sha256: bytes


def sample_tokens(session: Session, run_id: UUID, limit: int) -> list[TokenSample]:
    """Tokens that a run wrote and whose bytes are still some current clip's."""
    stored = TokenSequence
    rows = session.execute(
        select(
            *(Clip.id, Clip.uri, Clip.version_token, Clip.size),
            *(stored.content_sha256, Codec.fingerprint),
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
        TokenSample(ClipToTokenize(*clip), sha256, codec, (semantic, acoustic1, acoustic2))
        for *clip, sha256, codec, semantic, acoustic1, acoustic2 in rows
    ]


def sample_answers(session: Session, run_id: UUID, limit: int) -> list[AnswerSample]:
    """Answers that a run wrote, retracted ones too."""
    stored = PredictionRow
    rows = session.execute(
        select(
            *(stored.work_key, stored.content_sha256, LIBRARY, Codec.fingerprint, Llm.fingerprint),
            *(stored.label, stored.probabilities),
        )
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .join(Codec, Codec.id == stored.codec_id)
        .outerjoin(Llm, Llm.id == stored.llm_id)
        .where(stored.run_id == run_id)
        .order_by(stored.content_sha256)
        .limit(limit)
    )
    return [AnswerSample(*row) for row in rows]


def sample_audio(session: Session, run_id: UUID, limit: int) -> list[AudioSample]:
    """Audio that a run generated, retracted audio too."""
    stored = GeneratedAudio
    rows = session.execute(
        select(
            *(stored.work_key, stored.task, stored.text, stored.content_sha256),
            *(LIBRARY, Codec.fingerprint, Llm.fingerprint),
            *(stored.semantic, stored.acoustic1, stored.acoustic2, stored.uri, stored.sha256),
        )
        .join(DemonstrationSet, DemonstrationSet.id == stored.demonstration_set_id)
        .join(Codec, Codec.id == stored.codec_id)
        .join(Llm, Llm.id == stored.llm_id)
        .where(stored.run_id == run_id)
        .order_by(stored.work_key)
        .limit(limit)
    )
    return [
        AudioSample(key, task, text, sha256, library, codec, llm, (first, second, third), uri, file_sha256)
        for key, task, text, sha256, library, codec, llm, first, second, third, uri, file_sha256 in rows
    ]


def get_file_digests(session: Session, run_id: UUID) -> Digests:
    """Return the digest of each file that a run exported or generated, as it was written last."""
    complete = exports.exports(ExportRow.run_id == run_id, ExportRow.completed_at.is_not(None))
    files: dict[str, bytes | None] = {}
    for row in session.execute(complete.order_by(ExportRow.completed_at)):
        files |= exports.Export(*row).digests
    stored = GeneratedAudio
    generated = session.execute(select(stored.uri, stored.sha256).where(stored.run_id == run_id))
    return files | dict(generated.tuples().all())
