"""Pooled latents as stored bytes, to find clips that sound alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Result, text
from sqlalchemy.orm import Session

from db.explorer.clip import Shown
from db.explorer.clips import IN_SCOPE, TASK, Scope

_OF_CONTENT = text(
    """
    SELECT codec_fingerprint, mean, deviation FROM analytics.latents WHERE content_sha256 = :content
    ORDER BY codec_fingerprint = :codec DESC, codec_fingerprint LIMIT 1
    """
)
_OF_CLIPS = text(
    f"""
    SELECT c.clip_id, c.uri, l.mean, l.deviation
    FROM analytics.clips c JOIN analytics.latents l ON l.content_sha256 = c.content_sha256
    WHERE c.missing_since IS NULL AND {IN_SCOPE} AND l.codec_fingerprint = :codec
    ORDER BY c.uri LIMIT :limit
    """  # noqa: S608  the conditions are ours
)
_OF_DEMONSTRATIONS = text(
    """
    SELECT d.library, d.version, d.ordinal, d.label, d.uri, d.duration, d.format, d.content_sha256, l.mean,
      l.deviation
    FROM analytics.demonstrations d JOIN analytics.latents l ON l.content_sha256 = d.content_sha256
    WHERE d.library = :library AND d.version = :version AND l.codec_fingerprint = :codec ORDER BY d.ordinal
    """
)
_OF_ALL = text(
    """
    SELECT c.clip_id, c.uri, l.mean, l.deviation
    FROM analytics.latents l JOIN analytics.clips c ON c.content_sha256 = l.content_sha256
    WHERE c.missing_since IS NULL AND l.codec_fingerprint = :codec LIMIT :limit
    """
)
_CODEC = text(
    f"""
    SELECT l.codec_fingerprint FROM analytics.clips c
    JOIN analytics.latents l ON l.content_sha256 = c.content_sha256
    WHERE c.missing_since IS NULL AND {IN_SCOPE} LIMIT 1
    """  # noqa: S608
)
_LABELS = text(
    """
    SELECT uri, label, margin, status FROM analytics.labels
    WHERE content_sha256 = ANY(ARRAY(SELECT content_sha256 FROM analytics.clips WHERE clip_id = ANY(:clips)))
      AND task = :task AND library = :library
    """
)


@dataclass(frozen=True)
class StoredLatent:
    """Mean and deviation over time, little-endian half precision, by a codec."""

    codec: str
    mean: bytes
    deviation: bytes


@dataclass(frozen=True)
class ClipLatent:
    """The latent of a clip."""

    clip_id: int
    uri: str
    mean: bytes
    deviation: bytes


@dataclass(frozen=True)
class ShownLatent:
    """The latent of a clip that a library shows."""

    shown: Shown
    mean: bytes
    deviation: bytes


@dataclass(frozen=True)
class Label:
    """The current answer about a clip."""

    label: str
    margin: float
    status: str


def get_latent(session: Session, content: bytes, codec: str | None = None) -> StoredLatent | None:
    """Return the latent of a content, by that codec if it has one, or None."""
    row = session.execute(_OF_CONTENT, {"content": content, "codec": codec}).one_or_none()
    return None if row is None else StoredLatent(row[0], bytes(row[1]), bytes(row[2]))


def find_codec(session: Session, scope: Scope) -> str | None:
    """Return the fingerprint of a codec with latents of clips in scope, or None."""
    fingerprint: str | None = session.scalar(_CODEC, scope.values)
    return fingerprint


def list_latents(session: Session, scope: Scope | None, codec: str, limit: int) -> list[ClipLatent]:
    """Return the latents of up to `limit` clips that are there: in scope, in the order of names, or any."""
    if scope is None:
        return _clip_latents(session.execute(_OF_ALL, {"codec": codec, "limit": limit}))
    values = {**scope.values, "codec": codec, "limit": limit}
    return _clip_latents(session.execute(_OF_CLIPS, values))


def _clip_latents(rows: Result[tuple[int, str, bytes, bytes]]) -> list[ClipLatent]:
    return [ClipLatent(clip, uri, bytes(mean), bytes(deviation)) for clip, uri, mean, deviation in rows]


def list_shown_latents(session: Session, library: str, version: int, codec: str) -> list[ShownLatent]:
    """Return the latents of the clips that a library version shows."""
    values = {"library": library, "version": version, "codec": codec}
    rows = session.execute(_OF_DEMONSTRATIONS, values)
    return [
        ShownLatent(Shown(*(*shown, bytes(content))), bytes(mean), bytes(deviation))
        for *shown, content, mean, deviation in rows
    ]


def list_labels_of(session: Session, clips: Sequence[int], library: str) -> dict[str, Label]:
    """Return the current answers of a library about clips, by uri."""
    values = {"clips": list(clips), "task": TASK, "library": library}
    return {uri: Label(*answer) for uri, *answer in session.execute(_LABELS, values)}
