"""Codes of codecs with other layers than the LLM-Codec, also those above 32,767, and SQL that finds them.

Rows that are there stay as they are: the new column has no value for them, and their index is the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261201_other_codecs"
down_revision = "20261201_comparisons"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE codecs DROP CONSTRAINT ck_codecs_layers;
ALTER TABLE codecs ADD CONSTRAINT ck_codecs_layers CHECK (
  cardinality(codebook_sizes) > 0 AND cardinality(code_samples) = cardinality(codebook_sizes));

ALTER TABLE token_sequences ALTER COLUMN semantic DROP NOT NULL;
ALTER TABLE token_sequences ALTER COLUMN acoustic1 DROP NOT NULL;
ALTER TABLE token_sequences ALTER COLUMN acoustic2 DROP NOT NULL;
ALTER TABLE token_sequences ADD COLUMN codes INTEGER[];
ALTER TABLE token_sequences DROP CONSTRAINT ck_token_sequences_lengths;
ALTER TABLE token_sequences DROP CONSTRAINT ck_token_sequences_codes;
ALTER TABLE token_sequences ADD CONSTRAINT ck_token_sequences_lengths CHECK (
  cardinality(levels) > 0 AND coalesce(cardinality(semantic), cardinality(levels)) = cardinality(levels)
  AND CASE WHEN codes IS NULL
    THEN num_nulls(semantic, acoustic1, acoustic2) = 0
      AND cardinality(acoustic1) > 0 AND cardinality(acoustic1) % cardinality(semantic) = 0
      AND cardinality(acoustic2) > 0 AND cardinality(acoustic2) % cardinality(acoustic1) = 0
    ELSE num_nonnulls(acoustic1, acoustic2) = 0
      AND cardinality(codes) > 0 AND cardinality(codes) % cardinality(levels) = 0 END);
ALTER TABLE token_sequences ADD CONSTRAINT ck_token_sequences_codes CHECK (
  0 <= ALL (semantic) AND 0 <= ALL (acoustic1) AND 0 <= ALL (acoustic2) AND 0 <= ALL (codes));
CREATE INDEX ix_token_sequences_wide ON token_sequences USING gin ((codes[1:cardinality(levels)]))
  WHERE semantic IS NULL;
"""

FIRST_LAYER = "s.codes[1:cardinality(s.levels)]"
VIEWS = """
CREATE OR REPLACE VIEW analytics.tokens AS
SELECT c.uri, k.name AS codec, k.fingerprint AS codec_fingerprint, c.duration,
  s.semantic, s.acoustic1, s.acoustic2, s.levels, s.created_at, s.run_id AS run, c.content_sha256, s.codes
FROM analytics.clips c
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id;
COMMENT ON COLUMN analytics.tokens.codes IS
  'Of a codec that is not an LLM-Codec: all layers one after another, as the view codes has them one by one';

CREATE OR REPLACE VIEW analytics.lake_tokens AS
SELECT c.uri, c.day, regexp_replace(c.uri, '/[^/]*$', '') AS prefix, t.duration,
  encode(c.content_sha256, 'hex') AS content_sha256, k.name AS codec_name, k.fingerprint AS codec_fingerprint,
  s.semantic, s.acoustic1, s.acoustic2, s.levels, s.run_id AS run, s.created_at, s.codes
FROM clips c
JOIN contents t ON t.sha256 = c.content_sha256
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id
WHERE c.missing_since IS NULL;
COMMENT ON COLUMN analytics.lake_tokens.codes IS 'All layers of a codec that is not an LLM-Codec, else null';

CREATE OR REPLACE VIEW analytics.sequences AS
SELECT s.content_sha256, k.name AS codec, k.fingerprint AS codec_fingerprint, s.semantic,
  k.code_samples[1]::double precision / k.sample_rate AS seconds, s.run_id AS run, s.created_at,
  FIRST_LAYER AS wide
FROM token_sequences s
JOIN codecs k ON k.id = s.codec_id;
COMMENT ON COLUMN analytics.sequences.wide IS
  'The same for a codec that is not an LLM-Codec, also where codes are above 32767 and semantic is null';

CREATE VIEW analytics.codes AS
SELECT c.uri, k.name AS codec, k.fingerprint AS codec_fingerprint, l.layer, u.position, u.code, w.word,
  u.position * k.code_samples[l.layer + 1]::double precision / k.sample_rate AS start_s, c.content_sha256
FROM analytics.clips c
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id
CROSS JOIN LATERAL (
  SELECT o.place - 1 AS layer, o.length,
    (sum(o.length) OVER (ORDER BY o.place) - o.length)::integer AS before
  FROM (SELECT i AS place, cardinality(s.levels) * k.code_samples[1] / k.code_samples[i] AS length
    FROM generate_subscripts(k.code_samples, 1) AS i) o
) l
CROSS JOIN LATERAL (
  SELECT (p.place - 1)::integer AS position, p.code
  FROM unnest(CASE WHEN s.codes IS NOT NULL THEN s.codes[l.before + 1 : l.before + l.length]
    WHEN l.layer = 0 THEN s.semantic::integer[] WHEN l.layer = 1 THEN s.acoustic1::integer[]
    ELSE s.acoustic2::integer[] END) WITH ORDINALITY AS p (code, place)
) u
LEFT JOIN codebook_words w ON w.codec_id = k.id AND w.layer = l.layer AND w.code = u.code;

COMMENT ON VIEW analytics.codes IS
  'One row per code of each clip, of every layer of any codec, with its word; ask for one layer or uri';
COMMENT ON COLUMN analytics.codes.layer IS 'From 0, coarse to fine';
COMMENT ON COLUMN analytics.codes.position IS 'Place in the layer, from 0';
COMMENT ON COLUMN analytics.codes.code IS 'Index into the codebook of the layer';
COMMENT ON COLUMN analytics.codes.word IS 'The word the code stands for; null where it has none';
COMMENT ON COLUMN analytics.codes.start_s IS 'Where the span of the code begins, in seconds';
GRANT SELECT ON analytics.codes TO wordwave_writer, wordwave_analyst;
""".replace("FIRST_LAYER", FIRST_LAYER)

WIDE_STARTS = """
CREATE FUNCTION analytics.code_starts(codes integer[], first integer[], span integer, expression text)
RETURNS integer[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(found.start) FROM (
    SELECT u.place::integer - 1 AS start FROM unnest(codes) WITH ORDINALITY AS u (code, place)
    WHERE u.code = ANY (first)
      AND array_to_string(codes[u.place : u.place + span - 1], ',') || ',' ~ ('^' || expression)
    LIMIT 100
  ) found
$$;

COMMENT ON FUNCTION analytics.code_starts(integer[], integer[], integer, text) IS
  'The same for codes above 32767';
REVOKE EXECUTE ON FUNCTION analytics.code_starts(integer[], integer[], integer, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.code_starts(integer[], integer[], integer, text)
  TO wordwave_writer, wordwave_analyst;
"""

READ_CODES = r"""
CREATE OR REPLACE FUNCTION analytics.read_codes(pattern text)
RETURNS TABLE (place integer, codes integer[], least_distance integer, is_open boolean)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part text;
  ends_with_gap boolean := false;
BEGIN
  place := 0;
  least_distance := 1;
  is_open := false;
  FOREACH part IN ARRAY regexp_split_to_array(btrim(pattern, E' \t\r\n'), '\s+') LOOP
    ends_with_gap := part IN ('*', '**');
    IF ends_with_gap AND place = 0 THEN
      EXIT;
    ELSIF part = '*' THEN
      least_distance := least_distance + 1;
    ELSIF part = '**' THEN
      is_open := true;
    ELSIF part ~ '^(\d{1,5}|\(\d{1,5}(\|\d{1,5})*\))$' THEN
      place := place + 1;
      codes := string_to_array(btrim(part, '()'), '|')::integer[];
      IF LARGEST < ANY (codes) THEN
        RAISE invalid_parameter_value USING
          MESSAGE = format('no codec has the code in "%s"', part), HINT = 'codes are from 0 to LARGEST';
      END IF;
      RETURN NEXT;
      least_distance := 1;
      is_open := false;
    ELSE
      RAISE invalid_parameter_value USING MESSAGE = format('"%s" is no part of a pattern', left(part, 60)),
        HINT = 'write codes and gaps with spaces between: 12 * 7, 12 ** 7, 12 (7|9)';
    END IF;
    IF place > 12 OR cardinality(codes) > 100 OR least_distance > 100 THEN
      RAISE invalid_parameter_value USING MESSAGE = 'the pattern is too long',
        HINT = 'use up to 12 places, 100 alternatives for each and 99 gaps in a row';
    END IF;
  END LOOP;
  IF ends_with_gap OR place = 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'a pattern begins and ends with something to look for',
      HINT = 'leave out gaps at its ends: river * glass';
  END IF;
END $$;
"""

FIND_CODES = r"""
CREATE OR REPLACE FUNCTION analytics.find_codes(pattern text, codec text DEFAULT NULL, below text DEFAULT '',
  begins timestamptz DEFAULT '-infinity', ends timestamptz DEFAULT 'infinity', most integer DEFAULT 100)
RETURNS TABLE (uri text, starts double precision[], duration double precision, codec_fingerprint text,
  clip_id bigint, content_sha256 bytea)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  expression text := analytics.code_expression(pattern);
  first integer[];
  span integer;
BEGIN
  IF most IS NULL OR most NOT BETWEEN 1 AND 10000 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('most is %s', coalesce(most::text, 'null')),
      HINT = 'ask for 1 to 10000 clips';
  END IF;
  SELECT p.codes INTO first FROM analytics.read_codes(pattern) p WHERE p.place = 1;
  -- a gap of any length may reach to the end of every clip
  SELECT CASE WHEN bool_or(p.is_open) THEN 1 << 29 ELSE sum(p.least_distance) END INTO span
  FROM analytics.read_codes(pattern) p;
  RETURN QUERY EXECUTE format($query$
    WITH found AS MATERIALIZED (
      SELECT c.uri, s.semantic, s.seconds, c.duration, s.codec_fingerprint, c.clip_id, c.content_sha256
      FROM analytics.sequences s JOIN analytics.clips c ON c.content_sha256 = s.content_sha256
      WHERE c.missing_since IS NULL AND %1$s
        AND ',' || array_to_string(s.semantic, ',') || ',' ~ $1 AND %2$s
      LIMIT $2)WIDE
    SELECT f.uri, ARRAY(SELECT at * f.seconds FROM
        unnest(analytics.code_starts(f.semantic, $3, $8, $9)) AS at),
      f.duration, f.codec_fingerprint, f.clip_id, f.content_sha256
    FROM found f ALSO ORDER BY 1, 4 LIMIT $2
    $query$, analytics.code_conditions(pattern),
    concat_ws(' AND ', CASE WHEN codec IS NULL THEN 'true' ELSE 's.codec_fingerprint = $4' END,
    CASE below WHEN '' THEN 'true'
      ELSE '(c.uri = $5 OR c.uri >= rtrim($5, ''/'') || ''/'' AND c.uri < rtrim($5, ''/'') || ''0'')' END,
    CASE WHEN isfinite(begins) OR isfinite(ends) THEN 'c.last_modified >= $6 AND c.last_modified < $7'
      ELSE 'true' END))
  USING ',' || expression, most, first, codec, below, begins, ends, span, expression;
END $$;
"""

WIDE = """,
    wide AS MATERIALIZED (
      SELECT c.uri, s.wide, s.seconds, c.duration, s.codec_fingerprint, c.clip_id, c.content_sha256
      FROM analytics.sequences s JOIN analytics.clips c ON c.content_sha256 = s.content_sha256
      WHERE c.missing_since IS NULL AND s.semantic IS NULL AND s.wide && $3
        AND ',' || array_to_string(s.wide, ',') || ',' ~ $1 AND %2$s
      LIMIT $2)"""
ALSO_WIDE = """
    UNION ALL
    SELECT w.uri, ARRAY(SELECT at * w.seconds FROM
        unnest(analytics.code_starts(w.wide, $3, $8, $9)) AS at),
      w.duration, w.codec_fingerprint, w.clip_id, w.content_sha256
    FROM wide w"""

TABLES_BEFORE = """
DROP INDEX ix_token_sequences_wide;
ALTER TABLE token_sequences DROP CONSTRAINT ck_token_sequences_codes;
ALTER TABLE token_sequences DROP CONSTRAINT ck_token_sequences_lengths;
ALTER TABLE token_sequences DROP COLUMN codes;
ALTER TABLE token_sequences ALTER COLUMN acoustic2 SET NOT NULL;
ALTER TABLE token_sequences ALTER COLUMN acoustic1 SET NOT NULL;
ALTER TABLE token_sequences ALTER COLUMN semantic SET NOT NULL;
ALTER TABLE token_sequences ADD CONSTRAINT ck_token_sequences_lengths CHECK (
  cardinality(semantic) > 0 AND cardinality(levels) = cardinality(semantic)
  AND cardinality(acoustic1) > 0 AND cardinality(acoustic1) % cardinality(semantic) = 0
  AND cardinality(acoustic2) > 0 AND cardinality(acoustic2) % cardinality(acoustic1) = 0);
ALTER TABLE token_sequences ADD CONSTRAINT ck_token_sequences_codes CHECK (
  0 <= ALL (semantic) AND 0 <= ALL (acoustic1) AND 0 <= ALL (acoustic2));
ALTER TABLE codecs DROP CONSTRAINT ck_codecs_layers;
ALTER TABLE codecs ADD CONSTRAINT ck_codecs_layers CHECK (
  cardinality(codebook_sizes) = 3 AND cardinality(code_samples) = 3);
"""
"""Fails while another codec has a row: a codec's codes go with wordwave prune."""


NOTHING = "NULL::integer[]"


def find_codes(wide: str, also: str) -> str:
    """Return the function with or without the search of codes above 32,767."""
    return FIND_CODES.replace("WIDE", wide).replace("ALSO", also)


def upgrade() -> None:
    largest = READ_CODES.replace("LARGEST", "65535")
    for statements in (TABLES, VIEWS, WIDE_STARTS, largest, find_codes(WIDE, ALSO_WIDE)):
        op.execute(sa.text(statements.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("DROP VIEW analytics.codes")
    # a view cannot lose a column that a later one may use: theirs stay without values
    without = VIEWS[: VIEWS.index("CREATE VIEW analytics.codes")]
    without = without.replace(FIRST_LAYER, NOTHING).replace(" s.codes\n", f" {NOTHING} AS codes\n")
    before = READ_CODES.replace("LARGEST", "32767")
    for statements in (without, TABLES_BEFORE, before, find_codes("", "")):
        op.execute(sa.text(statements.replace(":", r"\:")))
    op.execute("DROP FUNCTION analytics.code_starts(integer[], integer[], integer, text)")
