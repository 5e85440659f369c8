"""Embeddings of contents and of their windows by each embedding model, and the timed scores of taggers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.base import among
from db.bulk_insert import insert_new
from db.models import Embedding, EmbeddingModel, SoundTags, WindowEmbeddings


@dataclass(frozen=True)
class NewEmbeddingModel:
    """An embedding model as it is registered: `window` and `hop` in seconds, `classes` of a tagger."""

    fingerprint: str
    name: str
    dimensions: int
    window: float
    hop: float
    license: str
    classes: Sequence[str]


@dataclass(frozen=True)
class ContentEmbedding:
    """The embedding of a content by a model; `tags` are (window, class, score), both by number from 0.

    `windows` is the embedding of each window, one after the other in half precision, little-endian.
    """

    model_id: int
    embedding: Sequence[float]
    scores: Sequence[float] | None
    tags: Sequence[tuple[int, int, float]]
    windows: bytes | None = None


def ensure_embedding_model(session: Session, model: NewEmbeddingModel) -> int:
    """Return the id of the model with this fingerprint, registered when it is new."""
    values = {**vars(model), "classes": list(model.classes)}
    session.execute(insert(EmbeddingModel).values(values).on_conflict_do_nothing())
    known = select(EmbeddingModel.id).where(EmbeddingModel.fingerprint == model.fingerprint)
    return session.scalars(known).one()


def save_embeddings(
    session: Session, run_id: UUID, embeddings: Sequence[tuple[bytes, ContentEmbedding]]
) -> None:
    """Write embeddings of contents, given by rising sha256; what is stored already stays as it is."""
    insert_new(session, Embedding, [_embedding_row(sha256, one, run_id) for sha256, one in embeddings])
    insert_new(session, SoundTags, [_tags_row(sha256, one) for sha256, one in embeddings if one.tags])
    insert_new(
        session, WindowEmbeddings, [_windows_row(*one, run_id) for one in embeddings if one[1].windows]
    )


def contents_with_embeddings(
    session: Session, models: Collection[int], contents: Collection[bytes]
) -> set[bytes]:
    """Return those of the contents that have an embedding of each of the models: without models all."""
    if not models:
        return set(contents)
    return _with_each(session, Embedding, models, contents)


def contents_with_windows(
    session: Session, models: Collection[int], contents: Collection[bytes]
) -> set[bytes]:
    """Return those of the contents that have the windows of each of the models: without models all."""
    return _with_each(session, WindowEmbeddings, models, contents) if models else set(contents)


def _with_each(
    session: Session,
    table: type[Embedding] | type[WindowEmbeddings],
    models: Collection[int],
    contents: Collection[bytes],
) -> set[bytes]:
    wanted = among(table.content_sha256, contents)
    found = (
        select(table.content_sha256)
        .where(wanted, table.embedding_model_id.in_(models))
        .group_by(table.content_sha256)
        .having(func.count() == len(set(models)))
    )
    return set(session.scalars(found))


class StoredEmbedding(NamedTuple):
    """The embedding of a content, and the scores of its classes if the model is a tagger."""

    embedding: Sequence[float]
    scores: Sequence[float] | None


def get_embeddings(
    session: Session, model_id: int, contents: Collection[bytes]
) -> dict[bytes, StoredEmbedding]:
    """Return the stored embeddings by content; contents without one of the model are left out."""
    wanted = among(Embedding.content_sha256, contents)
    rows = session.execute(
        select(Embedding.content_sha256, Embedding.embedding, Embedding.scores).where(
            wanted, Embedding.embedding_model_id == model_id
        )
    )
    return {sha256: StoredEmbedding(*stored) for sha256, *stored in rows}


def get_windows(session: Session, model_id: int, contents: Collection[bytes]) -> dict[bytes, bytes]:
    """Return the stored embeddings of windows by content; contents without any of the model are left out."""
    stored = WindowEmbeddings
    wanted = among(stored.content_sha256, contents)
    of_model = stored.embedding_model_id == model_id
    rows = session.execute(select(stored.content_sha256, stored.vectors).where(wanted, of_model))
    return dict(rows.tuples().all())


class Tags(NamedTuple):
    """The best classes of the windows of a content: windows and classes by number, from 0, and scores."""

    windows: Sequence[int]
    classes: Sequence[int]
    scores: Sequence[float]


def get_tags(session: Session, model_id: int, contents: Collection[bytes]) -> dict[bytes, Tags]:
    """Return the stored tags by content; contents without any of the model are left out."""
    stored = SoundTags
    wanted = among(stored.content_sha256, contents)
    rows = session.execute(
        select(stored.content_sha256, stored.windows, stored.classes, stored.scores).where(
            wanted, stored.embedding_model_id == model_id
        )
    )
    return {sha256: Tags(*tags) for sha256, *tags in rows}


def _embedding_row(sha256: bytes, one: ContentEmbedding, run_id: UUID) -> dict[str, object]:
    return {
        "content_sha256": sha256,
        "embedding_model_id": one.model_id,
        "embedding": one.embedding,
        "scores": one.scores,
        "run_id": run_id,
    }


def _tags_row(sha256: bytes, one: ContentEmbedding) -> dict[str, object]:
    windows, classes, scores = zip(*one.tags, strict=True)
    return {
        "content_sha256": sha256,
        "embedding_model_id": one.model_id,
        "windows": list(windows),
        "classes": list(classes),
        "scores": list(scores),
    }


def _windows_row(sha256: bytes, one: ContentEmbedding, run_id: UUID) -> dict[str, object]:
    return {
        "content_sha256": sha256,
        "embedding_model_id": one.model_id,
        "vectors": one.windows,
        "run_id": run_id,
    }
