"""Clips that are similar to one by their embeddings: by an index of pgvector where the server has it."""

import sqlalchemy as sa
from alembic import op

revision = "20261201_similar_embeddings"
down_revision = "20261201_other_codecs"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW analytics.content_embeddings AS
SELECT e.content_sha256, m.name AS model, m.fingerprint AS model_fingerprint, m.dimensions, e.embedding,
  e.embedding_model_id AS model_id, e.created_at
FROM embeddings e
JOIN embedding_models m ON m.id = e.embedding_model_id;

COMMENT ON VIEW analytics.content_embeddings IS
  'The embedding of each content, one row per content and embedding model; embeddings has them clip by clip';
COMMENT ON COLUMN analytics.content_embeddings.dimensions IS 'How many numbers an embedding of the model has';
COMMENT ON COLUMN analytics.content_embeddings.embedding IS 'Mean over the windows; alike by cosine';
COMMENT ON COLUMN analytics.content_embeddings.model_id IS 'The model by number, which its index is made for';
GRANT SELECT ON analytics.content_embeddings TO wordwave_writer, wordwave_analyst;
"""

INDEX = """
CREATE FUNCTION index_embeddings(model embedding_models) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF to_regtype('vectors.vector') IS NOT NULL AND model.dimensions <= 2000 THEN
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON embeddings USING hnsw '
      '((embedding::vectors.vector(%s)) vectors.vector_cosine_ops) WHERE embedding_model_id = %s',
      'ix_embeddings_vector_' || model.id, model.dimensions, model.id);
  END IF;
END $$;
REVOKE EXECUTE ON FUNCTION index_embeddings(embedding_models) FROM PUBLIC;

CREATE FUNCTION index_new_embeddings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM index_embeddings(NEW);
  RETURN NULL;
END $$;

CREATE TRIGGER indexed_embeddings AFTER INSERT ON embedding_models
  FOR EACH ROW EXECUTE FUNCTION index_new_embeddings();

SELECT index_embeddings(m) FROM embedding_models m;
"""

SIMILAR = """
CREATE FUNCTION analytics.nearest_embeddings(mine analytics.content_embeddings, most integer) RETURNS bytea[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  nearest bytea[];
BEGIN
  PERFORM set_config('hnsw.ef_search', most::text, true); -- the index gives no more than it looks at
  EXECUTE format('SELECT ARRAY(SELECT e.content_sha256 FROM analytics.content_embeddings e '
    'WHERE e.model_id = %1$s ORDER BY e.embedding::vectors.vector(%2$s) OPERATOR(vectors.<=>) '
    '$1::vectors.vector(%2$s) LIMIT $2)', mine.model_id, mine.dimensions)
  INTO nearest USING mine.embedding, most;
  RETURN nearest;
END $$;

COMMENT ON FUNCTION analytics.nearest_embeddings(analytics.content_embeddings, integer) IS
  'Contents whose embeddings are nearest to one, by the index of pgvector, which finds most of them';

CREATE FUNCTION analytics.similar_by_embedding(clip text, k integer DEFAULT 10, of_model text DEFAULT NULL)
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
  IF to_regtype('vectors.vector') IS NOT NULL AND mine.dimensions <= 2000 THEN
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
  'about the clip, or of one by its name. With pgvector, an index finds 200 contents to compare; without it, '
  'or with more than 2,000 dimensions, these are the 100 that similar_clips finds';
"""

SIGNATURES = (
    "nearest_embeddings(analytics.content_embeddings, integer)",
    "similar_by_embedding(text, integer, text)",
)

DROP_INDEXES = """
DO $$
DECLARE
  index_name text;
BEGIN
  FOR index_name IN SELECT indexname FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = 'embeddings' AND indexname ~ '^ix_embeddings_vector_' LOOP
    EXECUTE format('DROP INDEX public.%I', index_name);
  END LOOP;
END $$;
"""

DROP = """
DROP TRIGGER indexed_embeddings ON embedding_models;
DROP FUNCTION index_new_embeddings();
DROP FUNCTION index_embeddings(embedding_models);
DROP VIEW analytics.content_embeddings;
"""


def upgrade() -> None:
    for statements in (VIEW, INDEX, SIMILAR):
        op.execute(sa.text(statements.replace(":", r"\:")))
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION analytics.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION analytics.{signature} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    op.execute(DROP_INDEXES)
    for signature in reversed(SIGNATURES):
        op.execute(f"DROP FUNCTION analytics.{signature}")
    op.execute(DROP)
