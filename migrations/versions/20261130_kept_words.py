"""Tables of words, near copies and typical subsequences, kept by the job count-words and read as views."""

import sqlalchemy as sa
from alembic import op

revision = "20261130_kept_words"
down_revision = "20261130_analyst_functions"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE code_counts (
  codec_id INTEGER NOT NULL,
  code SMALLINT NOT NULL,
  contents BIGINT NOT NULL,
  occurrences BIGINT NOT NULL,
  CONSTRAINT pk_code_counts PRIMARY KEY (codec_id, code),
  CONSTRAINT fk_code_counts_codec_id_codecs FOREIGN KEY (codec_id) REFERENCES codecs (id)
);

CREATE TABLE near_copy_keys (
  content_sha256 BYTEA NOT NULL,
  codec_id INTEGER NOT NULL,
  keys BIGINT[] NOT NULL,
  CONSTRAINT pk_near_copy_keys PRIMARY KEY (content_sha256, codec_id)
);
-- a batch looks for copies of what it has just written
CREATE INDEX ix_near_copy_keys_keys ON near_copy_keys USING gin (keys) WITH (fastupdate = off);

CREATE TABLE near_copies (
  content_sha256 BYTEA NOT NULL,
  codec_id INTEGER NOT NULL,
  other_sha256 BYTEA NOT NULL,
  overlap DOUBLE PRECISION NOT NULL,
  CONSTRAINT pk_near_copies PRIMARY KEY (content_sha256, codec_id, other_sha256),
  CONSTRAINT ck_near_copies_overlap CHECK (overlap BETWEEN 0 AND 1),
  CONSTRAINT fk_near_copies_content_sha256_codec_id_near_copy_keys
    FOREIGN KEY (content_sha256, codec_id) REFERENCES near_copy_keys (content_sha256, codec_id)
    ON DELETE CASCADE,
  CONSTRAINT fk_near_copies_other_sha256_codec_id_near_copy_keys
    FOREIGN KEY (other_sha256, codec_id) REFERENCES near_copy_keys (content_sha256, codec_id)
    ON DELETE CASCADE
);
CREATE INDEX ix_near_copies_other_sha256_codec_id ON near_copies (other_sha256, codec_id);

CREATE TABLE label_motifs (
  label TEXT NOT NULL,
  library TEXT NOT NULL,
  task TEXT NOT NULL,
  codec_id INTEGER NOT NULL,
  codes SMALLINT[] NOT NULL,
  contents INTEGER NOT NULL,
  of_contents INTEGER NOT NULL,
  elsewhere INTEGER NOT NULL,
  of_elsewhere INTEGER NOT NULL,
  counted_at TIMESTAMPTZ DEFAULT now() NOT NULL,
  CONSTRAINT pk_label_motifs PRIMARY KEY (label, library, task, codec_id, codes),
  CONSTRAINT ck_label_motifs_codes CHECK (cardinality(codes) BETWEEN 1 AND 4),
  CONSTRAINT fk_label_motifs_codec_id_codecs FOREIGN KEY (codec_id) REFERENCES codecs (id)
);

GRANT SELECT, INSERT, UPDATE ON code_counts TO wordwave_writer;
GRANT SELECT, INSERT ON near_copy_keys, near_copies TO wordwave_writer;
GRANT SELECT, INSERT ON label_motifs TO wordwave_writer;
"""

UNCOUNT = """
CREATE FUNCTION uncount_codes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE code_counts c SET contents = c.contents - n.contents, occurrences = c.occurrences - n.occurrences
  FROM (
    SELECT g.codec_id, u.code, count(DISTINCT g.content_sha256) AS contents, count(*) AS occurrences
    FROM gone g JOIN near_copy_keys k USING (content_sha256, codec_id), unnest(g.semantic) AS u (code)
    GROUP BY g.codec_id, u.code) n
  WHERE c.codec_id = n.codec_id AND c.code = n.code;
  DELETE FROM near_copy_keys k USING gone g
  WHERE k.content_sha256 = g.content_sha256 AND k.codec_id = g.codec_id;
  RETURN NULL;
END $$;

CREATE TRIGGER uncounted_codes AFTER DELETE ON token_sequences REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION uncount_codes();
"""

MOTIFS = """
CREATE FUNCTION forget_motifs(of_library text, of_task text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  DELETE FROM label_motifs m WHERE m.library = of_library AND m.task = of_task;
$$;
REVOKE EXECUTE ON FUNCTION forget_motifs(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_motifs(text, text) TO wordwave_writer;
"""

WEIGHT = """
CREATE FUNCTION analytics.motif_weight(
  contents bigint, of_contents bigint, elsewhere bigint, of_elsewhere bigint)
RETURNS double precision LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT contents / greatest(of_contents, 1)::double precision
    * ln((contents + 0.5) / (of_contents + 1) / ((elsewhere + 0.5) / (of_elsewhere + 1)))::double precision
$$;

COMMENT ON FUNCTION analytics.motif_weight(bigint, bigint, bigint, bigint) IS
  'How typical something is: the share of contents that have it, times the logarithm of how many times as '
  'frequent it is there as elsewhere';
"""

VIEWS = """
CREATE VIEW analytics.word_counts AS
SELECT k.name AS codec, k.fingerprint AS codec_fingerprint, c.code, w.word, c.contents, c.occurrences
FROM code_counts c
JOIN codecs k ON k.id = c.codec_id
LEFT JOIN codebook_words w ON w.codec_id = c.codec_id AND w.layer = 0 AND w.code = c.code;

COMMENT ON VIEW analytics.word_counts IS
  'How often each semantic code was heard, in all contents up to the last wordwave count-words';
COMMENT ON COLUMN analytics.word_counts.word IS 'The word of the code; null where the codec has none';
COMMENT ON COLUMN analytics.word_counts.contents IS 'Contents that have it';
COMMENT ON COLUMN analytics.word_counts.occurrences IS 'How often it occurs in them';

CREATE VIEW analytics.near_duplicates AS
SELECT c.uri, o.uri AS other_uri, n.overlap, k.fingerprint AS codec_fingerprint, n.content_sha256,
  n.other_sha256
FROM (
  SELECT content_sha256, other_sha256, codec_id, overlap FROM near_copies
  UNION ALL
  SELECT other_sha256, content_sha256, codec_id, overlap FROM near_copies
) n
JOIN codecs k ON k.id = n.codec_id
JOIN clips c ON c.content_sha256 = n.content_sha256 AND c.missing_since IS NULL
JOIN clips o ON o.content_sha256 = n.other_sha256 AND o.missing_since IS NULL;

COMMENT ON VIEW analytics.near_duplicates IS
  'Clips that are there and sound nearly the same, each pair from both sides, up to the last wordwave '
  'count-words. Of clips whose overlap is 0.9, 97 in 100 are found, of those with 0.8 two in three; of more '
  'than 20 copies of a new clip, 20. Clips of the same bytes share content_sha256 and are not listed';
COMMENT ON COLUMN analytics.near_duplicates.overlap IS
  'Of the pairs of neighboring codes that one has, the share that both have: 0.8 or more';

CREATE VIEW analytics.label_motifs AS
SELECT m.library, m.task, m.label, cardinality(m.codes) AS length, m.contents, m.of_contents, m.elsewhere,
  m.of_elsewhere,
  (SELECT string_agg(coalesce(w.word, u.code::text), ' ' ORDER BY u.place)
    FROM unnest(m.codes) WITH ORDINALITY AS u (code, place)
    LEFT JOIN codebook_words w ON w.codec_id = m.codec_id AND w.layer = 0 AND w.code = u.code) AS words,
  m.codes, k.fingerprint AS codec_fingerprint, m.counted_at
FROM label_motifs m
JOIN codecs k ON k.id = m.codec_id;

COMMENT ON VIEW analytics.label_motifs IS
  'How many contents of a label have certain codes one after another: every single code, and the longer '
  'ones that are most typical of some label, up to 300 of each length. Counted by wordwave count-words in '
  'up to 200 surely labeled contents of each label, the same ones every time, and in the first 500 codes '
  'of each';
COMMENT ON COLUMN analytics.label_motifs.length IS 'Number of codes, up to 4';
COMMENT ON COLUMN analytics.label_motifs.contents IS 'Counted contents of the label that have them';
COMMENT ON COLUMN analytics.label_motifs.of_contents IS 'Counted contents of the label';
COMMENT ON COLUMN analytics.label_motifs.elsewhere IS
  'Counted contents of the library''s other labels that have them';
COMMENT ON COLUMN analytics.label_motifs.of_elsewhere IS 'Counted contents of the other labels';
COMMENT ON COLUMN analytics.label_motifs.words IS 'The words of the codes';
COMMENT ON COLUMN analytics.label_motifs.counted_at IS 'When they were counted';
GRANT SELECT ON analytics.word_counts, analytics.near_duplicates, analytics.label_motifs
  TO wordwave_writer, wordwave_analyst;
"""

FUNCTIONS = """
CREATE FUNCTION analytics.motifs(of_label text, of_library text DEFAULT NULL, most integer DEFAULT 50)
RETURNS TABLE (library text, words text, contents integer, of_contents integer, elsewhere integer,
  of_elsewhere integer, times double precision, codes smallint[])
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM analytics.require_counted(of_label, of_library, most);
  RETURN QUERY
  WITH typical AS MATERIALIZED (
    SELECT m.* FROM analytics.label_motifs m
    WHERE m.label = of_label AND (motifs.of_library IS NULL OR m.library = motifs.of_library) AND m.length > 1
    ORDER BY analytics.motif_weight(m.contents, m.of_contents, m.elsewhere, m.of_elsewhere) DESC, m.codes
    LIMIT most
  )
  SELECT t.library, t.words, t.contents, t.of_contents, t.elsewhere, t.of_elsewhere,
    (t.contents + 0.5::double precision) / (t.of_contents + 1) / ((t.elsewhere + 0.5) / (t.of_elsewhere + 1)),
    t.codes
  FROM typical t
  ORDER BY analytics.motif_weight(t.contents, t.of_contents, t.elsewhere, t.of_elsewhere) DESC, t.codes;
END $$;

COMMENT ON FUNCTION analytics.motifs(text, text, integer) IS
  'Subsequences of two to four words that are typical of a label, the most typical first. times is how many '
  'times as frequent they are there as at the other labels. See label_motifs for what was counted';

CREATE FUNCTION analytics.label_difference(
  a text, b text, of_library text DEFAULT NULL, most integer DEFAULT 50)
RETURNS TABLE (library text, words text, contents_a integer, of_a integer, contents_b integer, of_b integer,
  difference double precision, z double precision, codes smallint[])
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM analytics.require_counted(a, label_difference.of_library, most);
  PERFORM analytics.require_counted(b, label_difference.of_library, most);
  RETURN QUERY
  WITH theirs AS MATERIALIZED (
    SELECT m.library, m.codec_fingerprint, m.label, m.codes, m.contents, m.of_contents
    FROM analytics.label_motifs m
    WHERE m.label IN (a, b) AND (of_library IS NULL OR m.library = of_library)
  ),
  counted AS (
    SELECT t.library, t.codec_fingerprint, t.codes,
      coalesce(max(t.contents) FILTER (WHERE t.label = a), 0) AS contents_a,
      coalesce(max(t.contents) FILTER (WHERE t.label = b), 0) AS contents_b
    FROM theirs t GROUP BY t.library, t.codec_fingerprint, t.codes
  ),
  sizes AS (
    SELECT t.library, t.codec_fingerprint, max(t.of_contents) FILTER (WHERE t.label = a) AS of_a,
      max(t.of_contents) FILTER (WHERE t.label = b) AS of_b
    FROM theirs t GROUP BY t.library, t.codec_fingerprint
  ),
  told AS MATERIALIZED (
  SELECT c.library, c.codec_fingerprint, c.codes, c.contents_a, s.of_a, c.contents_b, s.of_b, d.difference,
    d.z
  FROM counted c JOIN sizes s USING (library, codec_fingerprint),
  LATERAL (SELECT c.contents_a::double precision / s.of_a AS share_a,
    c.contents_b::double precision / s.of_b AS share_b,
    (c.contents_a + c.contents_b + 1.0) / (s.of_a + s.of_b + 2) AS share) p,
  LATERAL (SELECT p.share_a - p.share_b AS difference,
    (p.share_a - p.share_b) / sqrt(p.share * (1 - p.share) * (1.0 / s.of_a + 1.0 / s.of_b)) AS z) d
  WHERE s.of_a IS NOT NULL AND s.of_b IS NOT NULL -- a library without one of the labels tells nothing
  ORDER BY abs(d.z) DESC, c.codes LIMIT most
  )
  SELECT t.library, (SELECT string_agg(coalesce(b.word, u.code::text), ' ' ORDER BY u.place)
      FROM unnest(t.codes) WITH ORDINALITY AS u (code, place) LEFT JOIN analytics.codebook b
        ON b.codec_fingerprint = t.codec_fingerprint AND b.layer = 0 AND b.code = u.code),
    t.contents_a, t.of_a, t.contents_b, t.of_b, t.difference, t.z, t.codes
  FROM told t ORDER BY abs(t.z) DESC, t.codes;
END $$;

COMMENT ON FUNCTION analytics.label_difference(text, text, text, integer) IS
  'Words, and subsequences of words, that tell two labels apart: the difference of the shares of contents '
  'that have them, and how many standard errors it is. See label_motifs for what was counted';
"""

REQUIRE = """
CREATE FUNCTION analytics.require_counted(label text, library text, most integer) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF most IS NULL OR most NOT BETWEEN 1 AND 1000 THEN
    RAISE invalid_parameter_value USING MESSAGE = format('most is %s', coalesce(most::text, 'null')),
      HINT = 'ask for 1 to 1000 rows';
  END IF;
  IF NOT EXISTS (SELECT FROM analytics.label_motifs m WHERE m.label = require_counted.label
    AND (require_counted.library IS NULL OR m.library = require_counted.library)) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('no words of the label "%s" are counted', left(label, 60)),
      HINT = 'labels are in analytics.label_motifs; run wordwave count-words after new labels';
  END IF;
END $$;

COMMENT ON FUNCTION analytics.require_counted(text, text, integer) IS
  'Raise an error unless words of a label are counted and the number of rows is within bounds';
"""

SIMILAR = """
CREATE FUNCTION analytics.similar_clips(clip text, k integer DEFAULT 10)
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

SIGNATURES = (
    "motif_weight(bigint, bigint, bigint, bigint)",
    "require_counted(text, text, integer)",
    "motifs(text, text, integer)",
    "label_difference(text, text, text, integer)",
    "similar_clips(text, integer)",
)

DROP = """
DROP VIEW analytics.label_motifs, analytics.near_duplicates, analytics.word_counts;
DROP FUNCTION forget_motifs(text, text);
DROP TRIGGER uncounted_codes ON token_sequences;
DROP FUNCTION uncount_codes();
DROP TABLE label_motifs, near_copies, near_copy_keys, code_counts;
"""


def upgrade() -> None:
    for statements in (TABLES, UNCOUNT, WEIGHT, MOTIFS, VIEWS, REQUIRE, FUNCTIONS, SIMILAR):
        op.execute(sa.text(statements.replace(":", r"\:")))
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION analytics.{signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION analytics.{signature} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    for signature in reversed(SIGNATURES):
        op.execute(f"DROP FUNCTION analytics.{signature}")
    op.execute(DROP)
