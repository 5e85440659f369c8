"""Index the embeddings of installed models alone, and with half the links: storing one takes a third.

The log-mel statistics of a clip were a tenth of all that tokenizing it takes, for an index on what tells
sounds apart worst. Clips to compare by them are found by their codes, as everywhere without pgvector. Indexes
of other models stay as they are, as they answer the same questions.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261203_lighter_vectors"
down_revision = "20261202_multi_labels"
branch_labels = None
depends_on = None

INDEX = """
CREATE OR REPLACE FUNCTION index_embeddings(model embedding_models) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF to_regtype('vectors.vector') IS NOT NULL AND model.dimensions <= 2000{condition} THEN
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON embeddings USING hnsw '
      '((embedding::vectors.vector(%s)) vectors.vector_cosine_ops){parameters} WHERE embedding_model_id = %s',
      'ix_embeddings_vector_' || model.id, model.dimensions, model.id);
  END IF;
END $$;
"""

DROP_LOG_MEL = """
DO $$
DECLARE
  model_id integer;
BEGIN
  FOR model_id IN SELECT id FROM embedding_models WHERE name = 'log-mel' LOOP
    EXECUTE format('DROP INDEX IF EXISTS %I', 'ix_embeddings_vector_' || model_id);
  END LOOP;
END $$;
"""

SIMILAR = """
CREATE OR REPLACE FUNCTION analytics.similar_by_embedding(
  clip text, k integer DEFAULT 10, of_model text DEFAULT NULL)
RETURNS TABLE (uri text, similarity double precision, clip_id bigint, content_sha256 bytea)
LANGUAGE plpgsql STABLE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  mine analytics.content_embeddings;
  candidates bytea[];
BEGIN
  IF k IS NULL OR k NOT BETWEEN 1 AND 100 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('k is %s', coalesce(k::text, 'null')),
      HINT = 'ask for 1 to 100 clips';
  END IF;
  SELECT e.* INTO mine FROM analytics.clips c
  JOIN analytics.content_embeddings e ON e.content_sha256 = c.content_sha256
  WHERE c.uri = clip AND (of_model IS NULL OR e.model = of_model)
  ORDER BY e.created_at DESC, e.model_id LIMIT 1;
  IF mine.embedding IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('no clip with an embedding is "%s"', left(clip, 200)),
      HINT = 'write the uri and the model as analytics.embeddings has them';
  END IF;
  IF {has_index} THEN
    candidates := analytics.nearest_embeddings(mine, 200);
  ELSIF NOT EXISTS (SELECT FROM analytics.sequences s
    WHERE s.content_sha256 = mine.content_sha256 AND s.semantic IS NOT NULL) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('nothing finds clips to compare with "%s": its embeddings have no index of pgvector, '
        'and it has no codes up to 32767', left(clip, 200)),
      HINT = 'have pgvector installed, ask about a model of up to 2000 dimensions, or tokenize the clip with '
        'another codec, too';
  ELSE
    candidates := ARRAY(SELECT s.content_sha256 FROM analytics.similar_clips(clip, 100) s);
  END IF;
  RETURN QUERY
  WITH compared AS MATERIALIZED (
    SELECT e.content_sha256, p.similarity FROM unnest(candidates) AS o (content_sha256)
    JOIN analytics.content_embeddings e ON e.content_sha256 = o.content_sha256 AND e.model_id = mine.model_id
    CROSS JOIN LATERAL (
      SELECT sum(u.a::double precision * u.b) / nullif(sqrt(sum(u.a::double precision * u.a)
        * sum(u.b::double precision * u.b)), 0) AS similarity
      FROM unnest(mine.embedding, e.embedding) AS u (a, b)) p
    WHERE e.content_sha256 <> mine.content_sha256 AND p.similarity IS NOT NULL
  )
  SELECT c.uri, p.similarity, c.clip_id, c.content_sha256
  FROM compared p JOIN analytics.clips c ON c.content_sha256 = p.content_sha256
  WHERE c.missing_since IS NULL ORDER BY 2 DESC, c.uri LIMIT k;
END $$;

COMMENT ON FUNCTION analytics.similar_by_embedding(text, integer, text) IS
  'The clips that are most similar to one by their embeddings: the cosine. Of the model that was last asked '
  'about the clip, or of one by its name. Where the model has an index of pgvector, it finds 200 contents to '
  'compare; without one, as for log-mel or more than 2,000 dimensions, these are the 100 that similar_clips '
  'finds';
"""

NOT_LOG_MEL = " AND model.name <> 'log-mel'"
LIGHTER = " WITH (m = 8, ef_construction = 32)"
HAS_INDEX = """EXISTS (SELECT FROM pg_indexes WHERE schemaname = 'public' AND tablename = 'embeddings'
    AND indexname = 'ix_embeddings_vector_' || mine.model_id)"""
HAS_PGVECTOR = "to_regtype('vectors.vector') IS NOT NULL AND mine.dimensions <= 2000"


def upgrade() -> None:
    _replace(
        INDEX, condition=" AND model.name <> 'log-mel'", parameters=" WITH (m = 8, ef_construction = 32)"
    )
    _replace(DROP_LOG_MEL)
    _replace(SIMILAR, has_index=HAS_INDEX)


def downgrade() -> None:
    _replace(SIMILAR, has_index=HAS_PGVECTOR)
    _replace(INDEX, condition="", parameters="")
    op.execute("SELECT index_embeddings(m) FROM embedding_models m WHERE name = 'log-mel'")


def _replace(statements: str, **parts: str) -> None:
    op.execute(sa.text(statements.format(**parts).replace(":", r"\:")))
