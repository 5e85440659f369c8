"""All that is known about one clip, and about a clip of a library."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_CLIP = text(
    """
    SELECT clip_id, uri, size, last_modified, first_seen, missing_since, duration, sample_rate, channels,
      format, peak, content_sha256
    FROM analytics.clips WHERE clip_id = :clip
    """
)
_CODEC = "SELECT codec_fingerprint FROM analytics.tokens WHERE uri = :uri ORDER BY created_at DESC LIMIT 1"
_WORDS = text(
    f"""
    SELECT position, code, word, start_s FROM analytics.words
    WHERE uri = :uri AND layer = 0 AND codec_fingerprint = ({_CODEC})
      AND start_s >= :begins AND start_s < :ends ORDER BY position
    """  # noqa: S608  the subquery is ours
)
_ANSWERS = text(
    """
    SELECT h.answer, h.task, h.library, h.version, h.labeler, h.codec, h.codec_fingerprint, h.llm,
      h.llm_fingerprint, h.label, h.probability, h.margin, h.min_margin, h.probabilities, h.baselines,
      h.is_demonstration, h.provenance, h.seed, h.run, h.created_at, h.retracted_by, l.status,
      r.kind, r.code_version, r.flow_run
    FROM analytics.history h
    LEFT JOIN analytics.labels l ON l.content_sha256 = h.content_sha256 AND l.uri = :uri AND l.task = h.task
      AND l.library = h.library AND l.run = h.run AND l.version = h.version AND l.codec = h.codec
      AND l.labeler = h.labeler AND l.created_at = h.created_at
    LEFT JOIN analytics.runs r ON r.run = h.run
    WHERE h.content_sha256 = :content ORDER BY h.created_at DESC, h.answer DESC LIMIT :limit
    """
)
_ASIDE = text(
    """
    SELECT stage, reason, message, attempts, first_seen, last_seen FROM analytics.quarantine
    WHERE uri = :uri ORDER BY stage
    """
)
_TAGS = text(
    """
    SELECT start_s, end_s, class, score FROM analytics.sound_tags
    WHERE uri = :uri AND end_s > :begins AND start_s < :ends AND score >= :least
    ORDER BY start_s, score DESC LIMIT :limit
    """
)
_EVENTS = text(
    """
    SELECT library, labeler, label, start_s, end_s, score FROM analytics.events
    WHERE uri = :uri AND end_s > :begins AND start_s < :ends
    ORDER BY library, labeler, start_s, label LIMIT :limit
    """
)
_DEMONSTRATION = text(
    """
    SELECT library, version, ordinal, label, uri, duration, format, content_sha256
    FROM analytics.demonstrations WHERE library = :library AND version = :version AND ordinal = :ordinal
    """
)


@dataclass(frozen=True)
class ClipFacts:
    """The newest version of a clip. What decoding found is None for a clip that was not read."""

    clip_id: int
    uri: str
    size: int
    last_modified: datetime
    first_seen: datetime
    missing_since: datetime | None
    duration: float | None
    sample_rate: int | None
    channels: int | None
    format: str | None
    peak: float | None
    content_sha256: bytes | None


@dataclass(frozen=True)
class Word:
    """A semantic code of a clip. `start` in seconds; no word where the codec has none for the code."""

    position: int
    code: int
    word: str | None
    start: float


@dataclass(frozen=True)
class ExplainedAnswer:
    """An answer and all that decided it. Only the current one of a task and library has a status."""

    answer: int
    task: str
    library: str
    version: int
    labeler: str
    codec: str
    codec_fingerprint: str
    llm: str | None
    llm_fingerprint: str | None
    label: str
    probability: float
    margin: float
    min_margin: float
    probabilities: Mapping[str, float]
    baselines: Mapping[str, Any]
    is_demonstration: bool
    provenance: Mapping[str, Any]
    seed: int
    run: UUID
    created_at: datetime
    retracted_by: UUID | None
    status: str | None
    run_kind: str | None
    code_version: str | None
    flow_run: str | None


@dataclass(frozen=True)
class Aside:
    """Why a stage could not use a clip."""

    stage: str
    reason: str
    message: str
    attempts: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True)
class Tag:
    """A class that a tagger hears in a window of a clip, in seconds."""

    start: float
    end: float
    name: str
    score: float


@dataclass(frozen=True)
class LabelHeard:
    """A label of a library that a labeler hears in a part of a clip, in seconds."""

    library: str
    labeler: str
    label: str
    start: float
    end: float
    score: float


@dataclass(frozen=True)
class Shown:
    """A clip that a library version shows."""

    library: str
    version: int
    ordinal: int
    label: str | None
    uri: str
    duration: float
    format: str
    content_sha256: bytes


def get_clip(session: Session, clip_id: int) -> ClipFacts | None:
    """Return a clip by its id, or None if it is unknown or was replaced."""
    row = session.execute(_CLIP, {"clip": clip_id}).one_or_none()
    return None if row is None else ClipFacts(*_plain(row))


def list_words(session: Session, uri: str, begins: float, ends: float) -> list[Word]:
    """Return the semantic codes that start within a part of a clip, by the codec that read it last."""
    values = {"uri": uri, "begins": begins, "ends": ends}
    return [Word(*row) for row in session.execute(_WORDS, values)]


def list_past_answers(session: Session, clip: ClipFacts, limit: int) -> list[ExplainedAnswer]:
    """Return the answers about the bytes of a clip, the latest first."""
    values = {"uri": clip.uri, "content": clip.content_sha256, "limit": limit}
    return [ExplainedAnswer(*row) for row in session.execute(_ANSWERS, values)]


def list_asides(session: Session, uri: str) -> list[Aside]:
    """Return why stages could not use a clip."""
    return [Aside(*row) for row in session.execute(_ASIDE, {"uri": uri})]


def list_tags(session: Session, uri: str, begins: float, ends: float, least: float, limit: int) -> list[Tag]:
    """Return the classes of a tagger within a part of a clip."""
    values = {"uri": uri, "begins": begins, "ends": ends, "least": least, "limit": limit}
    return [Tag(*row) for row in session.execute(_TAGS, values)]


def list_events(session: Session, uri: str, begins: float, ends: float, limit: int) -> list[LabelHeard]:
    """Return what labelers hear within a part of a clip, by library and labeler, then by start."""
    values = {"uri": uri, "begins": begins, "ends": ends, "limit": limit}
    return [LabelHeard(*row) for row in session.execute(_EVENTS, values)]


def get_demonstration(session: Session, library: str, version: int, ordinal: int) -> Shown | None:
    """Return a clip of a library version, or None."""
    values = {"library": library, "version": version, "ordinal": ordinal}
    row = session.execute(_DEMONSTRATION, values).one_or_none()
    return None if row is None else Shown(*_plain(row))


def _plain(row: Any) -> tuple[Any, ...]:
    """Return a row with bytes in place of the driver's memoryviews."""
    return tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
