"""Clips that are similar to one, found among many: contents are compared that share several rare pairs.

Before, each of the rarest pairs gave up to 1,000 contents, so that in a large database most of those that
share many pairs were never met.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261201_similar_clips"
down_revision = "20261201_forgotten"
branch_labels = None
depends_on = None

WEIGHTS = """
CREATE FUNCTION analytics.code_weights(of_codec text) RETURNS double precision[]
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(coalesce(ln(1 + n.most / nullif(n.contents, 0)), 1) ORDER BY g.code)
  FROM generate_series(0, (
    SELECT max(c.code) FROM analytics.word_counts c WHERE c.codec_fingerprint = of_codec)) AS g (code)
  LEFT JOIN (
    SELECT c.code, c.contents, max(c.contents) OVER ()::double precision AS most
    FROM analytics.word_counts c WHERE c.codec_fingerprint = of_codec) n ON n.code = g.code
$$;

COMMENT ON FUNCTION analytics.code_weights(text) IS
  'How much each code of a codec, from 0 on, weighs in a comparison: the more, the fewer contents have it in '
  'word_counts. One that was not counted weighs 1';
"""

SHARING = """
CREATE FUNCTION analytics.contents_with_marks(marks integer[], groups integer, of_codec text)
RETURNS TABLE (content_sha256 bytea, divisions bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 500 SET search_path = pg_catalog, pg_temp AS $$
  WITH placed AS (
    SELECT d.division, u.mark, (row_number() OVER (PARTITION BY d.division
      ORDER BY hashint4extended(u.mark, d.division), u.mark) - 1) % groups AS part
    FROM unnest(marks) AS u (mark), generate_series(1, 8) AS d (division)
  ),
  parts AS (SELECT p.division, p.part, array_agg(p.mark) AS marks FROM placed p GROUP BY 1, 2),
  divided AS MATERIALIZED (
    SELECT
      max(p.marks) FILTER (WHERE p.part = 0 % groups) AS a,
      max(p.marks) FILTER (WHERE p.part = 1 % groups) AS b,
      max(p.marks) FILTER (WHERE p.part = 2 % groups) AS c,
      max(p.marks) FILTER (WHERE p.part = 3 % groups) AS d,
      max(p.marks) FILTER (WHERE p.part = 4 % groups) AS e,
      max(p.marks) FILTER (WHERE p.part = 5 % groups) AS f
    FROM parts p GROUP BY p.division
  )
  SELECT f.content_sha256, count(*) FROM divided v CROSS JOIN LATERAL (
    SELECT s.content_sha256 FROM analytics.sequences s
    WHERE analytics.code_marks(s.semantic) && v.a AND analytics.code_marks(s.semantic) && v.b
      AND analytics.code_marks(s.semantic) && v.c AND analytics.code_marks(s.semantic) && v.d
      AND analytics.code_marks(s.semantic) && v.e AND analytics.code_marks(s.semantic) && v.f
      AND s.codec_fingerprint = of_codec LIMIT 2000) f
  GROUP BY f.content_sha256
$$;

COMMENT ON FUNCTION analytics.contents_with_marks(integer[], integer, text) IS
  'Contents with several of the marks of code_marks, and in how many of eight divisions of the marks into up '
  'to six groups they have one of each group: the more marks they have, the more divisions. Up to 2,000 of '
  'each division';
"""

SIMILAR = """
CREATE OR REPLACE FUNCTION analytics.similar_clips(clip text, k integer DEFAULT 10)
RETURNS TABLE (uri text, similarity double precision, clip_id bigint, content_sha256 bytea)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  mine analytics.sequences;
  weights double precision[];
  pairs integer[];
  total double precision;
  groups integer;
  candidates bytea[] := '{}';
BEGIN
  IF k IS NULL OR k NOT BETWEEN 1 AND 100 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('k is %s', coalesce(k::text, 'null')),
      HINT = 'ask for 1 to 100 clips';
  END IF;
  SELECT s.* INTO mine FROM analytics.clips c
  JOIN analytics.sequences s ON s.content_sha256 = c.content_sha256
  WHERE c.uri = similar_clips.clip ORDER BY s.semantic IS NULL, s.created_at DESC LIMIT 1;
  IF mine.content_sha256 IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('no tokenized clip is "%s"', left(clip, 200)),
      HINT = 'write the uri as analytics.clips has it';
  ELSIF mine.semantic IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('the codes of "%s" go beyond 32767, and are not compared', left(clip, 200)),
      HINT = 'ask similar_by_embedding, or tokenize the clip with another codec, too';
  END IF;
  weights := analytics.code_weights(mine.codec_fingerprint);
  SELECT array_agg(p.pair ORDER BY p.weight DESC, p.pair), sum(p.weight) INTO pairs, total FROM (
    SELECT DISTINCT u.a::integer << 15 | u.b AS pair,
      coalesce(weights[u.a + 1], 1) + coalesce(weights[u.b + 1], 1) AS weight
    FROM unnest(mine.semantic, mine.semantic[2:]) AS u (a, b) WHERE u.b IS NOT NULL) p;
  FOREACH groups IN ARRAY ARRAY[6, 4, 3, 2, 1] LOOP
    candidates := candidates || ARRAY(
      SELECT s.content_sha256
      FROM analytics.contents_with_marks(
        pairs[:48], least(groups, cardinality(pairs)), mine.codec_fingerprint) s
      WHERE s.content_sha256 <> mine.content_sha256 AND s.content_sha256 <> ALL (candidates)
      ORDER BY s.divisions DESC, s.content_sha256 LIMIT 500 - cardinality(candidates));
    EXIT WHEN cardinality(candidates) = 500;
  END LOOP;
  RETURN QUERY
  WITH compared AS MATERIALIZED (
    SELECT s.content_sha256, p.has, p.shares FROM unnest(candidates) AS o (content_sha256)
    JOIN analytics.sequences s ON s.content_sha256 = o.content_sha256
      AND s.codec_fingerprint = mine.codec_fingerprint
    CROSS JOIN LATERAL (
      SELECT sum(t.weight) AS has, coalesce(sum(t.weight) FILTER (WHERE t.pair = ANY (pairs)), 0) AS shares
      FROM (
        SELECT DISTINCT u.a::integer << 15 | u.b AS pair,
          coalesce(weights[u.a + 1], 1) + coalesce(weights[u.b + 1], 1) AS weight
        FROM unnest(s.semantic, s.semantic[2:]) AS u (a, b) WHERE u.b IS NOT NULL) t) p
  )
  SELECT c.uri, p.shares / (p.has + total - p.shares), c.clip_id, c.content_sha256
  FROM compared p JOIN analytics.clips c ON c.content_sha256 = p.content_sha256
  WHERE c.missing_since IS NULL ORDER BY 2 DESC, c.uri LIMIT k;
END $$;

COMMENT ON FUNCTION analytics.similar_clips(text, integer) IS
  'The clips that are most similar to one by their semantic codes. Similarity is from 0 to 1: of the pairs '
  'of neighboring codes that either has, the share that both have, where a pair weighs the more the rarer '
  'its codes are in word_counts. Compared are 500 contents: those that have most of the 48 rarest pairs of '
  'the clip, as contents_with_marks tells for six groups, and for fewer until there are enough';
"""

BEFORE = """
CREATE OR REPLACE FUNCTION analytics.similar_clips(clip text, k integer DEFAULT 10)
RETURNS TABLE (uri text, similarity double precision, clip_id bigint, content_sha256 bytea)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
  mine analytics.sequences;
BEGIN
  IF k IS NULL OR k NOT BETWEEN 1 AND 100 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('k is %s', coalesce(k::text, 'null')),
      HINT = 'ask for 1 to 100 clips';
  END IF;
  SELECT s.* INTO mine FROM analytics.clips c
  JOIN analytics.sequences s ON s.content_sha256 = c.content_sha256
  WHERE c.uri = similar_clips.clip ORDER BY s.created_at DESC LIMIT 1;
  IF mine.semantic IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('no tokenized clip is "%s"', left(clip, 200)),
      HINT = 'write the uri as analytics.clips has it';
  END IF;
  RETURN QUERY
  WITH weights AS MATERIALIZED (
    SELECT n.code, ln(1 + max(n.contents) OVER () / n.contents::double precision) AS weight
    FROM analytics.word_counts n WHERE n.codec_fingerprint = mine.codec_fingerprint AND n.contents > 0
  ),
  wanted AS MATERIALIZED (
    SELECT p.mark, coalesce(a.weight, 1) + coalesce(b.weight, 1) AS weight
    FROM (SELECT DISTINCT u.mark FROM unnest(analytics.code_marks(mine.semantic)) AS u (mark)
      WHERE u.mark >= 0 AND u.mark < 1 << 30) p
    LEFT JOIN weights a ON a.code = p.mark >> 15 LEFT JOIN weights b ON b.code = p.mark & 32767
  ),
  rare AS MATERIALIZED (SELECT w.mark, w.weight FROM wanted w ORDER BY w.weight DESC, w.mark LIMIT 32),
  candidates AS MATERIALIZED (
    SELECT f.content_sha256 FROM rare r CROSS JOIN LATERAL (
      SELECT s.content_sha256 FROM analytics.sequences s
      WHERE analytics.code_marks(s.semantic) && ARRAY[r.mark]
        AND s.codec_fingerprint = mine.codec_fingerprint AND s.content_sha256 <> mine.content_sha256
      LIMIT 1000) f
    GROUP BY f.content_sha256 ORDER BY sum(r.weight) DESC, f.content_sha256 LIMIT 300
  ),
  theirs AS (
    SELECT DISTINCT s.content_sha256, u.mark
    FROM candidates c JOIN analytics.sequences s ON s.content_sha256 = c.content_sha256,
      unnest(analytics.code_marks(s.semantic)) AS u (mark)
    WHERE s.codec_fingerprint = mine.codec_fingerprint AND u.mark >= 0 AND u.mark < 1 << 30
  ),
  compared AS (
    SELECT t.content_sha256, sum(coalesce(a.weight, 1) + coalesce(b.weight, 1)) AS has,
      coalesce(sum(w.weight), 0) AS shares
    FROM theirs t LEFT JOIN wanted w ON w.mark = t.mark
    LEFT JOIN weights a ON a.code = t.mark >> 15 LEFT JOIN weights b ON b.code = t.mark & 32767
    GROUP BY t.content_sha256
  )
  SELECT c.uri, p.shares / (p.has + (SELECT sum(w.weight) FROM wanted w) - p.shares), c.clip_id,
    c.content_sha256
  FROM compared p JOIN analytics.clips c ON c.content_sha256 = p.content_sha256
  WHERE c.missing_since IS NULL ORDER BY 2 DESC, c.uri LIMIT k;
END $$;

COMMENT ON FUNCTION analytics.similar_clips(text, integer) IS
  'The clips that are most similar to one by their semantic codes. Similarity is from 0 to 1: of the pairs '
  'of neighboring codes that either has, the share that both have, where a pair weighs the more the rarer '
  'its codes are in word_counts. Compared are 300 contents, which share most of the 32 rarest pairs of the '
  'clip, out of 1,000 for each of these pairs';
"""

SIGNATURES = ("code_weights(text)", "contents_with_marks(integer[], integer, text)")


def upgrade() -> None:
    for statements in (WEIGHTS, SHARING, SIMILAR):
        op.execute(sa.text(statements.replace(":", r"\:")))
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION analytics.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION analytics.{signature} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    op.execute(sa.text(BEFORE.replace(":", r"\:")))
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION analytics.{signature}")
