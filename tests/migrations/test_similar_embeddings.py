"""Clips that are similar by their embeddings: by an index of pgvector where there is one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from db.embeddings import ContentEmbedding, ensure_embedding_model, save_embeddings
from db.engine import session_scope
from flows.pipeline.runtime.resources import LOG_MEL_MODEL
from migrations.upgrade import downgrade, upgrade
from tests.db.rows import FOLDER, make_run, sha256
from tests.db.test_embeddings import TAGGER
from tests.fixtures_postgres import Database
from tests.migrations.test_functions import store

CLIPS, DIMENSIONS = 300, 8

Vectors = npt.NDArray[np.float32]


@pytest.fixture
def vectors(engine: Engine) -> Vectors:
    """The embeddings of clips that share codes; the last clip has none."""
    store(engine, [[number % 3, 3, number % 5] for number in range(CLIPS + 1)])
    vectors = np.random.default_rng(0).normal(size=(CLIPS, DIMENSIONS)).astype(np.float32)
    with session_scope(engine) as session:
        model_id = ensure_embedding_model(session, replace(TAGGER, dimensions=DIMENSIONS))
        stored = {
            sha256(f"{number}.wav"): ContentEmbedding(model_id, one, None, ())
            for number, one in enumerate(vectors.tolist())
        }
        save_embeddings(session, make_run(session), sorted(stored.items()))
    return vectors


def cosines(vectors: Vectors, number: int) -> Vectors:
    """The similarity of every clip to one, that of the one itself below all."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarities: Vectors = units @ units[number]
    similarities[number] = -2
    return similarities


def nearest_that_share_codes(analyst: Connection, vectors: Vectors) -> object:
    """The ten clips most similar to clip 0 among those that `similar_clips` finds."""
    exact = cosines(vectors, 0)
    by_codes = analyst.scalars(text(f"SELECT uri FROM similar_clips('{FOLDER}/0.wav', 100)"))
    shared = [int(uri.rpartition("/")[2].removesuffix(".wav")) for uri in by_codes]
    with_embedding = [one for one in shared if one < CLIPS]
    best = sorted(with_embedding, key=lambda one: -exact[one])[:10]
    return pytest.approx({one: exact[one] for one in best}, abs=1e-6)


def similar(analyst: Connection, number: int, k: int, model: str = TAGGER.name) -> dict[int, float]:
    rows = analyst.execute(
        text("SELECT uri, similarity FROM similar_by_embedding(:uri, :k, :model)"),
        {"uri": f"{FOLDER}/{number}.wav", "k": k, "model": model},
    )
    return {int(uri.rpartition("/")[2].removesuffix(".wav")): similarity for uri, similarity in rows}


def test_the_nearest_are_found_by_the_index_of_pgvector(vectors: Vectors, analyst: Connection) -> None:
    found, hits = {}, 0
    for number in range(5):
        exact = cosines(vectors, number)
        found = similar(analyst, number, 10)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert found == pytest.approx({other: exact[other] for other in found}, abs=1e-6)
        hits += len(found.keys() & set(np.argsort(-exact)[:10].tolist()))
    assert hits >= 45


def test_the_question_reads_the_index_of_its_model(vectors: Vectors, analyst: Connection) -> None:
    analyst.execute(text("SET enable_seqscan = off"))
    [(model_id, embedding)] = analyst.execute(
        text("SELECT model_id, embedding::text FROM content_embeddings LIMIT 1")
    ).all()
    plan = analyst.scalars(
        text(
            "EXPLAIN SELECT e.content_sha256 FROM content_embeddings e WHERE e.model_id = :model_id"
            f" ORDER BY CAST(e.embedding AS vectors.vector({DIMENSIONS})) OPERATOR(vectors.<=>)"
            f" CAST(CAST(:embedding AS real[]) AS vectors.vector({DIMENSIONS})) LIMIT 200"
        ),
        {"model_id": model_id, "embedding": embedding},
    )
    assert f"ix_embeddings_vector_{model_id}" in "\n".join(plan)


def test_an_index_keeps_few_links_so_that_storing_an_embedding_is_cheap(
    vectors: Vectors, database: Database
) -> None:
    query = text("SELECT indexdef FROM pg_indexes WHERE indexname ~ '^ix_embeddings_vector_'")
    with create_engine(database.url("owner"), poolclass=NullPool).connect() as owner:
        assert "WITH (m='8', ef_construction='32')" in str(owner.scalar(query))


def test_log_mel_statistics_have_no_index_and_are_compared_by_shared_codes(
    vectors: Vectors, engine: Engine, database: Database, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        model_id = ensure_embedding_model(session, replace(LOG_MEL_MODEL, dimensions=DIMENSIONS))
        stored = {
            sha256(f"{number}.wav"): ContentEmbedding(model_id, one, None, ())
            for number, one in enumerate(vectors.tolist())
        }
        save_embeddings(session, make_run(session), sorted(stored.items()))
    assert len(_indexes(database)) == 1
    assert similar(analyst, 0, 10, "log-mel") == nearest_that_share_codes(analyst, vectors)


def test_models_of_an_old_database_get_their_index(
    vectors: Vectors, database: Database, analyst: Connection
) -> None:
    found = similar(analyst, 0, 10)
    downgrade(database.url("owner"), "20261201_similar_clips")
    assert _indexes(database) == []
    upgrade(database.url("owner"))
    assert len(_indexes(database)) == 1
    assert similar(analyst, 0, 10) == found


def _indexes(database: Database) -> Sequence[str]:
    """The indexes of pgvector."""
    query = text("SELECT indexname FROM pg_indexes WHERE indexname ~ '^ix_embeddings_vector_'")
    with create_engine(database.url("owner"), poolclass=NullPool).connect() as owner:
        return owner.scalars(query).all()


def test_without_pgvector_those_that_share_codes_are_compared(
    vectors: Vectors, database: Database, analyst: Connection
) -> None:
    administrator = create_engine(
        database.server.admin_url(database.name), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with administrator.connect() as connection:
        connection.execute(text("DROP EXTENSION vector CASCADE"))
    assert similar(analyst, 0, 10) == nearest_that_share_codes(analyst, vectors)


def test_a_clip_without_embedding_is_refused_with_a_remedy(vectors: Vectors, analyst: Connection) -> None:
    with pytest.raises(DBAPIError, match="no clip with an embedding is"):
        similar(analyst, CLIPS, 10)


def test_a_clip_that_nothing_finds_neighbors_of_is_refused_with_a_remedy(
    vectors: Vectors, database: Database, analyst: Connection
) -> None:
    administrator = create_engine(
        database.server.admin_url(database.name), poolclass=NullPool, isolation_level="AUTOCOMMIT"
    )
    with administrator.connect() as connection:
        connection.execute(text("DROP EXTENSION vector CASCADE"))
        connection.execute(text("DELETE FROM token_sequences"))
    with pytest.raises(DBAPIError, match="have no index of pgvector, and it has no codes") as caught:
        similar(analyst, 0, 10)
    assert "have pgvector installed" in str(caught.value.orig)
