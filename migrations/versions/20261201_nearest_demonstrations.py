"""Which demonstration each of many clips is nearest to by its codes, compared all at once."""

import sqlalchemy as sa
from alembic import op

revision = "20261201_nearest_demonstrations"
down_revision = "20261201_similar_embeddings"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE FUNCTION analytics.nearest_demonstrations(of_library text, of_day date, most integer DEFAULT 1000)
RETURNS TABLE (uri text, ordinal integer, label text, demonstration_uri text, similarity double precision)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 SET search_path = pg_catalog, pg_temp AS $$
  WITH labeled AS MATERIALIZED (
    SELECT l.uri, l.version, l.content_sha256 FROM analytics.labels l
    WHERE l.library = of_library AND l.day = of_day ORDER BY l.content_sha256, l.uri LIMIT most
  ),
  asked AS MATERIALIZED (
    SELECT row_number() OVER () AS clip, l.uri, l.version, m.codec_fingerprint, m.semantic
    FROM labeled l JOIN analytics.sequences m ON m.content_sha256 = l.content_sha256
  ),
  shown AS MATERIALIZED (
    SELECT row_number() OVER () AS demonstration, d.version, d.ordinal, d.label, d.uri, t.codec_fingerprint,
      t.semantic
    FROM analytics.demonstrations d JOIN analytics.sequences t ON t.content_sha256 = d.content_sha256
    WHERE d.library = of_library
  ),
  clip_pairs AS MATERIALIZED (
    SELECT DISTINCT a.clip, a.version, a.codec_fingerprint, u.a::integer << 15 | u.b AS pair
    FROM asked a, unnest(a.semantic, a.semantic[2:]) AS u (a, b) WHERE u.b IS NOT NULL
  ),
  shown_pairs AS MATERIALIZED (
    SELECT DISTINCT s.demonstration, s.version, s.codec_fingerprint, u.a::integer << 15 | u.b AS pair
    FROM shown s, unnest(s.semantic, s.semantic[2:]) AS u (a, b) WHERE u.b IS NOT NULL
  ),
  clip_sizes AS (SELECT p.clip, count(*) AS pairs FROM clip_pairs p GROUP BY p.clip),
  shown_sizes AS (SELECT p.demonstration, count(*) AS pairs FROM shown_pairs p GROUP BY p.demonstration),
  shared AS (
    SELECT p.clip, q.demonstration, count(*) AS pairs FROM clip_pairs p
    JOIN shown_pairs q ON q.pair = p.pair AND q.version = p.version
      AND q.codec_fingerprint = p.codec_fingerprint
    GROUP BY p.clip, q.demonstration
  ),
  compared AS (
    SELECT a.uri, s.ordinal, s.label, s.uri AS demonstration_uri,
      b.pairs::double precision / (c.pairs + d.pairs - b.pairs) AS similarity
    FROM shared b
    JOIN asked a ON a.clip = b.clip
    JOIN shown s ON s.demonstration = b.demonstration
    JOIN clip_sizes c ON c.clip = b.clip
    JOIN shown_sizes d ON d.demonstration = b.demonstration
  )
  SELECT DISTINCT ON (c.uri) c.uri, c.ordinal, c.label, c.demonstration_uri, c.similarity
  FROM compared c ORDER BY c.uri, c.similarity DESC, c.ordinal
$$;

COMMENT ON FUNCTION analytics.nearest_demonstrations(text, date, integer) IS
  'The demonstration of its library version that each clip of a day is nearest to by code_overlap, the first '
  'of several. A clip that shares no pair of codes with any is left out. Of up to as many clips as most '
  'says, the same ones every time';
"""

SIGNATURE = "nearest_demonstrations(text, date, integer)"


def upgrade() -> None:
    op.execute(sa.text(FUNCTION.replace(":", r"\:")))
    op.execute(f"REVOKE EXECUTE ON FUNCTION analytics.{SIGNATURE} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION analytics.{SIGNATURE} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION analytics.{SIGNATURE}")
