"""Embeddings of a clip and of what a library shows, by the model that a labeler compares."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.explorer.clip import Shown

_MODELS = text(
    """
    SELECT model, model_fingerprint, embedding FROM analytics.embeddings
    WHERE content_sha256 = :content AND right(:labeler, length(model) + 1) = ' ' || model
    ORDER BY length(model) DESC, created_at DESC LIMIT 1
    """
)
_OF_DEMONSTRATIONS = text(
    """
    SELECT DISTINCT ON (d.ordinal) d.library, d.version, d.ordinal, d.label, d.uri, d.duration, d.format,
      d.content_sha256, e.embedding
    FROM analytics.demonstrations d JOIN analytics.embeddings e ON e.content_sha256 = d.content_sha256
    WHERE d.library = :library AND d.version = :version AND e.model_fingerprint = :model
    ORDER BY d.ordinal
    """
)


@dataclass(frozen=True)
class ComparedEmbedding:
    """The embedding of a content by the model that a labeler compares."""

    model: str
    fingerprint: str
    vector: Sequence[float]


@dataclass(frozen=True)
class ShownEmbedding:
    """The embedding of a clip that a library shows."""

    shown: Shown
    vector: Sequence[float]


def get_compared(session: Session, content: bytes, labeler: str) -> ComparedEmbedding | None:
    """Return the embedding that a labeler such as `class mean yamnet` compares, or None if it has none."""
    row = session.execute(_MODELS, {"content": content, "labeler": labeler}).one_or_none()
    return None if row is None else ComparedEmbedding(*row)


def list_shown_embeddings(session: Session, library: str, version: int, model: str) -> list[ShownEmbedding]:
    """Return the embeddings of the clips that a library version shows, by a model's fingerprint."""
    values = {"library": library, "version": version, "model": model}
    rows = session.execute(_OF_DEMONSTRATIONS, values)
    return [ShownEmbedding(Shown(*(*shown, bytes(content))), vector) for *shown, content, vector in rows]
