"""Functions with which analysts ask why a clip has its label and which clips have certain words.

They run with the rights of who calls them and read the analysts' views alone. An index has each code, each
pair of neighbors and each pair with one code between, which makes words with gaps one look.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261130_analyst_functions"
down_revision = "20261130_past_answers"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW analytics.sequences AS
SELECT s.content_sha256, k.name AS codec, k.fingerprint AS codec_fingerprint, s.semantic,
  k.code_samples[1]::double precision / k.sample_rate AS seconds, s.run_id AS run, s.created_at
FROM token_sequences s
JOIN codecs k ON k.id = s.codec_id;

COMMENT ON VIEW analytics.sequences IS
  'The semantic codes of each content, one row per content and codec; tokens has all layers clip by clip';
COMMENT ON COLUMN analytics.sequences.seconds IS 'The length of sound that a code stands for';
COMMENT ON COLUMN analytics.sequences.run IS 'The run that tokenized the content';
GRANT SELECT ON analytics.sequences TO wordwave_writer, wordwave_analyst;
"""

MARKS = """
CREATE FUNCTION analytics.code_marks(codes smallint[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  marks integer[] := '{}';
  before_last integer;
  last integer;
  code integer;
BEGIN
  FOREACH code IN ARRAY codes LOOP
    marks := marks || (-1 - code);
    IF last IS NOT NULL THEN
      marks := marks || ((last << 15) | code);
    END IF;
    IF before_last IS NOT NULL THEN
      marks := marks || ((1 << 30) | (before_last << 15) | code);
    END IF;
    before_last := last;
    last := code;
  END LOOP;
  RETURN marks;
END $$;

COMMENT ON FUNCTION analytics.code_marks(smallint[]) IS
  'The numbers by which an index finds codes: -1 - a for a code, a * 32768 + b for neighbors, and the same '
  'plus 2 ^ 30 with one code between';

CREATE INDEX ix_token_sequences_marks ON token_sequences USING gin (analytics.code_marks(semantic));
DROP INDEX ix_token_sequences_semantic;
"""

READ_CODES = r"""
CREATE FUNCTION analytics.read_codes(pattern text)
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
      IF 32767 < ANY (codes) THEN
        RAISE invalid_parameter_value USING
          MESSAGE = format('no codec has the code in "%s"', part), HINT = 'codes are from 0 to 32767';
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

COMMENT ON FUNCTION analytics.read_codes(text) IS
  'The places of a pattern of codes: which codes may stand there, and how far behind the place before: '
  'exactly least_distance, or at least that where it is open';
"""

CONDITIONS = r"""
CREATE FUNCTION analytics.code_conditions(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  WITH places AS MATERIALIZED (SELECT * FROM analytics.read_codes(pattern)),
  near AS (
    SELECT p.place AS first, q.place AS second, q.least_distance AS distance FROM places p
    JOIN places q ON q.place = p.place + 1 AND NOT q.is_open AND q.least_distance <= 2
    UNION ALL
    SELECT p.place, r.place, 2 FROM places p
    JOIN places q ON q.place = p.place + 1 AND NOT q.is_open AND q.least_distance = 1
    JOIN places r ON r.place = p.place + 2 AND NOT r.is_open AND r.least_distance = 1
  ),
  marks AS (
    SELECT array_agg(((n.distance - 1) << 30) | (a << 15) | b) AS marks
    FROM near n JOIN places p ON p.place = n.first JOIN places q ON q.place = n.second,
      unnest(p.codes) AS a, unnest(q.codes) AS b
    GROUP BY n.first, n.second HAVING count(*) <= 1000
    UNION ALL
    SELECT (SELECT array_agg(-1 - a) FROM unnest(p.codes) AS a) FROM places p
    WHERE NOT EXISTS (SELECT FROM near n WHERE p.place IN (n.first, n.second))
  )
  SELECT coalesce(string_agg(format('analytics.code_marks(s.semantic) && %L', marks::text), ' AND '), 'true')
  FROM marks
$$;

COMMENT ON FUNCTION analytics.code_conditions(text) IS
  'What an index can tell about a pattern of codes: a condition of numbers alone on a row s of sequences';
"""

FIND_CODES = r"""
CREATE FUNCTION analytics.code_expression(pattern text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT string_agg(repeat('[0-9]+,', least_distance - 1) || CASE WHEN is_open THEN '([0-9]+,)*' ELSE '' END
    || '(' || array_to_string(codes, '|') || '),', '' ORDER BY place)
  FROM analytics.read_codes(pattern)
$$;

COMMENT ON FUNCTION analytics.code_expression(text) IS
  'A pattern of codes as a regular expression over codes with a comma behind each';

CREATE FUNCTION analytics.code_starts(codes smallint[], first integer[], span integer, expression text)
RETURNS integer[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(found.start) FROM (
    SELECT u.place::integer - 1 AS start FROM unnest(codes) WITH ORDINALITY AS u (code, place)
    WHERE u.code = ANY (first)
      AND array_to_string(codes[u.place : u.place + span - 1], ',') || ',' ~ ('^' || expression)
    LIMIT 100
  ) found
$$;

COMMENT ON FUNCTION analytics.code_starts(smallint[], integer[], integer, text) IS
  'Where an expression of at most span codes begins, with one of the first codes, from 0: up to 100 places';

CREATE FUNCTION analytics.find_codes(pattern text, codec text DEFAULT NULL, below text DEFAULT '',
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
      WHERE c.missing_since IS NULL AND %s
        AND ',' || array_to_string(s.semantic, ',') || ',' ~ $1 AND %s AND %s AND %s
      LIMIT $2)
    SELECT f.uri, ARRAY(SELECT at * f.seconds FROM
        unnest(analytics.code_starts(f.semantic, $3, $8, $9)) AS at),
      f.duration, f.codec_fingerprint, f.clip_id, f.content_sha256
    FROM found f ORDER BY f.uri, f.codec_fingerprint
    $query$, analytics.code_conditions(pattern),
    CASE WHEN codec IS NULL THEN 'true' ELSE 's.codec_fingerprint = $4' END,
    CASE below WHEN '' THEN 'true'
      ELSE '(c.uri = $5 OR c.uri >= rtrim($5, ''/'') || ''/'' AND c.uri < rtrim($5, ''/'') || ''0'')' END,
    CASE WHEN isfinite(begins) OR isfinite(ends) THEN 'c.last_modified >= $6 AND c.last_modified < $7'
      ELSE 'true' END)
  USING ',' || expression, most, first, codec, below, begins, ends, span, expression;
END $$;

COMMENT ON FUNCTION analytics.find_codes(text, text, text, timestamptz, timestamptz, integer) IS
  'Clips that are there and have semantic codes in an order: 12 * (7|9), where * is one code of any kind, ** '
  'any number of them, also none, and (7|9) one of several. starts are the seconds at which it begins, up to '
  '100 of a clip. Of one codec by its fingerprint, below a folder, last modified in a time; at most as many '
  'clips as most says, and which ones then is not said. A folder, times and most have defaults';
"""

FIND_WORDS = r"""
CREATE FUNCTION analytics.read_words(pattern text) RETURNS TABLE (codec_fingerprint text, codes text)
LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  places bigint[];
  words text[];
  unknown text;
BEGIN
  SELECT array_agg(p.place), array_agg(w.word) INTO places, words
  FROM regexp_split_to_table(btrim(pattern, E' \t\r\n'), '\s+') WITH ORDINALITY AS p (part, place),
    LATERAL (SELECT p.part ~ '^\(.+\)$' AS is_choice) i,
    string_to_table(CASE WHEN i.is_choice THEN substr(p.part, 2, length(p.part) - 2) ELSE p.part END,
      CASE WHEN i.is_choice THEN '|' ELSE ' ' END) AS w (word);
  IF coalesce(words, '{}') <@ ARRAY['*', '**'] THEN
    PERFORM analytics.read_codes('*');
  END IF;
  SELECT string_agg(DISTINCT format('"%s"', left(w.word, 60)), ', ') INTO unknown
  FROM unnest(words) AS w (word)
  WHERE w.word NOT IN ('*', '**')
    AND NOT EXISTS (SELECT FROM analytics.codebook b WHERE b.layer = 0 AND b.word = w.word);
  IF unknown IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'no codec has the word ' || unknown,
      HINT = 'the view analytics.codebook has the words of each codec';
  END IF;
  RETURN QUERY
  WITH asked AS MATERIALIZED (SELECT u.place, u.word FROM unnest(places, words) AS u (place, word)),
  known AS MATERIALIZED (
    SELECT b.codec_fingerprint, a.place, string_agg(DISTINCT b.code::text, '|') AS codes
    FROM asked a JOIN analytics.codebook b ON b.layer = 0 AND b.word = a.word GROUP BY 1, 2)
  SELECT c.codec_fingerprint, string_agg(coalesce('(' || k.codes || ')', p.word), ' ' ORDER BY p.place)
  FROM (SELECT a.place, min(a.word) AS word FROM asked a GROUP BY a.place) p
  CROSS JOIN (SELECT DISTINCT k.codec_fingerprint FROM known k) c
  LEFT JOIN known k ON k.codec_fingerprint = c.codec_fingerprint AND k.place = p.place
  GROUP BY c.codec_fingerprint HAVING bool_and(k.codes IS NOT NULL OR p.word IN ('*', '**'));
END $$;

COMMENT ON FUNCTION analytics.read_words(text) IS
  'A pattern of words as patterns of codes, one for each codec that has all of the words';

CREATE FUNCTION analytics.find_words(pattern text, below text DEFAULT '',
  begins timestamptz DEFAULT '-infinity', ends timestamptz DEFAULT 'infinity', most integer DEFAULT 100)
RETURNS TABLE (uri text, starts double precision[], duration double precision, codec_fingerprint text,
  clip_id bigint, content_sha256 bytea)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.* FROM analytics.read_words(pattern) w,
    analytics.find_codes(w.codes, w.codec_fingerprint, below, begins, ends, most) f
$$;

COMMENT ON FUNCTION analytics.find_words(text, text, timestamptz, timestamptz, integer) IS
  'Clips that are there and in which the codec hears words in an order: river * (glass|water), where * is '
  'one word of any kind, ** any number of them, also none, and (glass|water) one of several. As find_codes '
  'does for the codes of each codec';

CREATE INDEX ix_codebook_words_word ON codebook_words (word);
"""

OVERLAP = """
CREATE FUNCTION analytics.code_overlap(codes smallint[], others smallint[]) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((count(*) FILTER (WHERE p.sides = 2))::double precision / nullif(count(*), 0), 0) FROM (
    SELECT count(DISTINCT m.side) AS sides FROM (
      SELECT 1 AS side, unnest(analytics.code_marks(code_overlap.codes)) AS mark
      UNION ALL SELECT 2, unnest(analytics.code_marks(others))) m
    WHERE m.mark >= 0 AND m.mark < 1 << 30 GROUP BY m.mark) p
$$;

COMMENT ON FUNCTION analytics.code_overlap(smallint[], smallint[]) IS
  'How alike two rows of codes are, from 0 to 1: of the pairs of neighbors that one has, the share that both '
  'have';
"""

WHY = """
CREATE FUNCTION analytics.why(uri text, library text, task text DEFAULT 'label')
RETURNS TABLE (step integer, part text, fact text, value text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 60 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  span analytics.label_spans;
  given analytics.history;
BEGIN
  SELECT s.* INTO span FROM analytics.label_spans s
  WHERE s.uri = why.uri AND s.library = why.library AND s.task = why.task ORDER BY s.since DESC LIMIT 1;
  SELECT h.* INTO given FROM analytics.history h WHERE h.answer = span.answer;
  IF given.answer IS NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('library "%s" has no answer about "%s"', left(why.library, 60), left(why.uri, 200)),
      HINT = 'write the uri as analytics.clips has it, and the name of the library without its version';
  END IF;
  RETURN QUERY
  WITH told (step, part, facts) AS (
    SELECT 1, 'answer', row_to_json(x) FROM (SELECT span.label, given.probability, given.margin,
      given.min_margin, given.distance, given.max_distance, span.status, span.since, span.until,
      span.is_promoted, span.is_chosen, span.is_demonstration) x
    UNION ALL
    SELECT 2, 'object version', row_to_json(x) FROM (
      SELECT v.uri, v.version_token, v.size, v.last_modified, v.first_seen, v.missing_since,
        encode(v.content_sha256, 'hex') AS content_sha256
      FROM analytics.versions v WHERE v.clip_id = span.clip_id) x
    UNION ALL
    SELECT 3, 'library', row_to_json(x) FROM (
      SELECT given.library, given.version, given.task, min(d.instruction) AS instruction,
        count(*) AS demonstrations, count(DISTINCT d.label) AS labels
      FROM analytics.demonstrations d WHERE d.library = given.library AND d.version = given.version) x
    UNION ALL
    SELECT 4, 'prompt and models', row_to_json(x) FROM (
      SELECT given.provenance ->> 'prompt_hash' AS prompt_hash, given.seed, given.llm, given.llm_fingerprint,
        given.codec, given.codec_fingerprint, given.provenance - 'prompt_hash' AS more) x
    UNION ALL
    SELECT 5, 'labeler', row_to_json(x) FROM (SELECT given.labeler, min(l.reason) AS reason,
      min(l.chosen_by) AS chosen_by, min(l.chosen_at) AS chosen_at, given.calibration
      FROM analytics.labelers l WHERE l.library = given.library AND l.version = given.version
        AND l.codec = given.codec AND l.chosen = given.labeler AND l.is_current) x
    UNION ALL
    SELECT 6, 'labelers compared', coalesce(json_object_agg(l.labeler, format(
      'accuracy %s (%s to %s), lead %s',
      round(l.accuracy::numeric, 3), round(l.accuracy_low::numeric, 3), round(l.accuracy_high::numeric, 3),
      round(l.lead::numeric, 3)) ORDER BY l.lead_bound DESC) FILTER (WHERE l.accuracy IS NOT NULL), '{}')
    FROM analytics.labelers l WHERE l.library = given.library AND l.version = given.version
      AND l.codec = given.codec AND l.is_current
    UNION ALL
    SELECT 7, 'nearest demonstrations', coalesce(json_object_agg(d.ordinal || ' ' || coalesce(d.label, ''),
      format('similarity %s, %s', round(d.similarity::numeric, 3), d.uri) ORDER BY d.similarity DESC), '{}')
    FROM (
      SELECT d.ordinal, d.label, d.uri, analytics.code_overlap(m.semantic, t.semantic) AS similarity
      FROM analytics.sequences m
      JOIN analytics.demonstrations d ON d.library = given.library AND d.version = given.version
      JOIN analytics.sequences t ON t.content_sha256 = d.content_sha256
        AND t.codec_fingerprint = m.codec_fingerprint
      WHERE m.content_sha256 = span.content_sha256 AND m.codec_fingerprint = given.codec_fingerprint
      ORDER BY 4 DESC, 1 LIMIT 5) d
    UNION ALL
    SELECT 8, 'run', row_to_json(r) FROM analytics.runs r WHERE r.run = given.run
  )
  SELECT t.step, t.part, f.key, f.value
  FROM told t, json_each_text(t.facts) WITH ORDINALITY AS f (key, value, place) ORDER BY t.step, f.place;
END $$;

COMMENT ON FUNCTION analytics.why(text, text, text) IS
  'Why a clip has its label by a library, or had it last: the answer, the version of the object, the '
  'library, the prompt and the models, the labeler and those it was compared with, the demonstrations whose '
  'codes overlap most, and the run with its parameters';
"""

SIGNATURES = (
    "code_marks(smallint[])",
    "read_codes(text)",
    "code_conditions(text)",
    "code_expression(text)",
    "code_starts(smallint[], integer[], integer, text)",
    "find_codes(text, text, text, timestamptz, timestamptz, integer)",
    "read_words(text)",
    "find_words(text, text, timestamptz, timestamptz, integer)",
    "code_overlap(smallint[], smallint[])",
    "why(text, text, text)",
)

DROP = """
CREATE INDEX ix_token_sequences_semantic ON token_sequences USING gin (semantic);
DROP INDEX ix_codebook_words_word;
DROP INDEX ix_token_sequences_marks;
"""


def upgrade() -> None:
    for statements in (VIEW, MARKS, READ_CODES, CONDITIONS, FIND_CODES, FIND_WORDS, OVERLAP, WHY):
        op.execute(sa.text(statements.replace(":", r"\:")))
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION analytics.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION analytics.{signature} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    op.execute(DROP)
    for signature in reversed(SIGNATURES):
        op.execute(f"DROP FUNCTION analytics.{signature}")
    op.execute("DROP VIEW analytics.sequences")
