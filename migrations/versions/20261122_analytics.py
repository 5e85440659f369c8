"""The schema analysts read: documented views over tables they cannot touch.

The views run with their owner's rights; an analyst is granted the views and nothing else. A clip's newest
version is the one listed last: the current one, else the last that went missing.
"""

from alembic import op

revision = "20261122_analytics"
down_revision = "20261122_tables"
branch_labels = None
depends_on = None

CLIPS = """
CREATE VIEW analytics.clips AS
SELECT DISTINCT ON (c.uri)
  c.uri, c.size, c.last_modified, c.first_seen, c.missing_since,
  t.duration, t.sample_rate, t.channels, t.format, t.peak, c.content_sha256, c.id AS clip_id
FROM clips c
LEFT JOIN contents t ON t.sha256 = c.content_sha256
ORDER BY c.uri, c.missing_since DESC NULLS FIRST, c.id DESC;

COMMENT ON VIEW analytics.clips IS 'Audio objects, the newest version of each uri';
COMMENT ON COLUMN analytics.clips.size IS 'Bytes of the object';
COMMENT ON COLUMN analytics.clips.last_modified IS 'When storage says the object was written';
COMMENT ON COLUMN analytics.clips.first_seen IS 'When a listing first had this version';
COMMENT ON COLUMN analytics.clips.missing_since IS 'When a listing no longer had it; null while it is there';
COMMENT ON COLUMN analytics.clips.duration IS 'Seconds; null until the clip has been read';
COMMENT ON COLUMN analytics.clips.peak IS 'Largest sample of the mono mix, 1.0 is full scale';
COMMENT ON COLUMN analytics.clips.content_sha256 IS 'Digest of the bytes: clips of equal content share it';
"""

TOKENS = """
CREATE VIEW analytics.tokens AS
SELECT c.uri, k.name AS codec, k.fingerprint AS codec_fingerprint, c.duration,
  s.semantic, s.acoustic1, s.acoustic2, s.levels, s.created_at, s.run_id AS run, c.content_sha256
FROM analytics.clips c
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id;

COMMENT ON VIEW analytics.tokens IS 'Codes of each clip, one row per uri and codec';
COMMENT ON COLUMN analytics.tokens.duration IS 'Seconds of audio';
COMMENT ON COLUMN analytics.tokens.semantic IS 'Layer 0: codes into the codebook of words';
COMMENT ON COLUMN analytics.tokens.acoustic1 IS 'Layer 1, twice as many codes as layer 0 in released codecs';
COMMENT ON COLUMN analytics.tokens.acoustic2 IS 'Layer 2, four times as many codes as layer 0';
COMMENT ON COLUMN analytics.tokens.levels IS 'RMS under each semantic code, in tenths of dB';
COMMENT ON COLUMN analytics.tokens.run IS 'The run that tokenized the content';
"""

WORDS = """
CREATE VIEW analytics.words AS
SELECT c.uri, k.name AS codec, k.fingerprint AS codec_fingerprint, u.layer, u.position, u.code, w.word,
  u.position * k.code_samples[u.layer + 1]::double precision / k.sample_rate AS start_s
FROM analytics.clips c
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id
CROSS JOIN LATERAL (
  SELECT 0 AS layer, code, (place - 1)::integer AS position
  FROM unnest(s.semantic) WITH ORDINALITY AS l0 (code, place)
  UNION ALL
  SELECT 1, code, (place - 1)::integer FROM unnest(s.acoustic1) WITH ORDINALITY AS l1 (code, place)
  UNION ALL
  SELECT 2, code, (place - 1)::integer FROM unnest(s.acoustic2) WITH ORDINALITY AS l2 (code, place)
) u
LEFT JOIN codebook_words w ON w.codec_id = k.id AND w.layer = u.layer AND w.code = u.code;

COMMENT ON VIEW analytics.words IS 'One row per code of each clip, with its word; ask for one layer or uri';
COMMENT ON COLUMN analytics.words.layer IS '0 semantic, 1 and 2 acoustic';
COMMENT ON COLUMN analytics.words.position IS 'Place in the layer, from 0';
COMMENT ON COLUMN analytics.words.code IS 'Index into the codebook of the layer';
COMMENT ON COLUMN analytics.words.word IS 'The word the code stands for; null where the codec has no words';
COMMENT ON COLUMN analytics.words.start_s IS 'Where the span of the code begins, in seconds';
"""

LABELS = """
CREATE VIEW analytics.labels AS
SELECT c.uri, a.task, a.label, (a.probabilities ->> a.label)::double precision AS probability, a.margin,
  CASE WHEN a.margin < a.min_margin THEN 'uncertain' ELSE 'labeled' END AS status,
  (a.baselines ->> 'chance')::double precision AS chance,
  a.baselines ->> 'majority' AS majority_label, a.baselines ->> 'nearest' AS nearest_label,
  a.probabilities, a.is_demonstration, d.name AS library, d.version, a.labeler, m.name AS llm,
  k.name AS codec, a.is_promoted, a.run_id AS run, a.created_at, c.missing_since, a.content_sha256
FROM (
  SELECT DISTINCT ON (p.content_sha256, p.task, l.name) p.*, q.task IS NOT NULL AS is_promoted
  FROM predictions p
  JOIN demonstration_sets l ON l.id = p.demonstration_set_id
  LEFT JOIN promotions q ON q.task = p.task AND q.demonstration_set_id = p.demonstration_set_id
    AND q.codec_id = p.codec_id AND q.llm_id IS NOT DISTINCT FROM p.llm_id
  WHERE p.retracted_by_run IS NULL
  ORDER BY p.content_sha256, p.task, l.name, q.task NULLS LAST, p.created_at DESC, p.id DESC
) a
JOIN analytics.clips c ON c.content_sha256 = a.content_sha256
JOIN demonstration_sets d ON d.id = a.demonstration_set_id
JOIN codecs k ON k.id = a.codec_id
LEFT JOIN llms m ON m.id = a.llm_id;

COMMENT ON VIEW analytics.labels IS
  'The current answer for each clip, task and library: by what is promoted there, else the latest standing';
COMMENT ON COLUMN analytics.labels.probability IS 'Of the label among the labels of the library';
COMMENT ON COLUMN analytics.labels.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.labels.status IS 'uncertain where the margin is under the asked bound';
COMMENT ON COLUMN analytics.labels.chance IS 'Probability of being right by guessing';
COMMENT ON COLUMN analytics.labels.majority_label IS 'What always saying the commonest label says';
COMMENT ON COLUMN analytics.labels.nearest_label IS 'What the nearest demonstration says';
COMMENT ON COLUMN analytics.labels.probabilities IS 'Every label with its probability';
COMMENT ON COLUMN analytics.labels.is_demonstration IS 'The library has this audio: not for accuracies';
COMMENT ON COLUMN analytics.labels.version IS 'Version of the library';
COMMENT ON COLUMN analytics.labels.labeler IS 'The method that answered';
COMMENT ON COLUMN analytics.labels.llm IS 'The language model that was asked; null for a labeler without one';
COMMENT ON COLUMN analytics.labels.is_promoted IS 'By the promoted library version, codec and language model';
COMMENT ON COLUMN analytics.labels.run IS 'The run that wrote the answer';
COMMENT ON COLUMN analytics.labels.missing_since IS 'When the clip left its bucket; null while it is there';
"""

QUARANTINE = """
CREATE VIEW analytics.quarantine AS
SELECT c.uri, q.stage, q.reason, q.message, q.attempts, q.first_seen, q.last_seen,
  q.first_run, q.last_run, c.missing_since
FROM quarantine q
JOIN analytics.clips c ON c.clip_id = q.clip_id
WHERE q.resolved_at IS NULL;

COMMENT ON VIEW analytics.quarantine IS 'Clips that a stage could not use and that wait for a replay';
COMMENT ON COLUMN analytics.quarantine.stage IS 'The step that refused the clip';
COMMENT ON COLUMN analytics.quarantine.reason IS 'A stable code to group by; the message is for people';
COMMENT ON COLUMN analytics.quarantine.attempts IS 'How often the stage has tried';
"""

GRANTS = """
GRANT USAGE ON SCHEMA analytics TO wordwave_writer, wordwave_analyst;
GRANT SELECT ON analytics.clips, analytics.tokens, analytics.words, analytics.labels, analytics.quarantine
  TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA analytics")
    for statements in (CLIPS, TOKENS, WORDS, LABELS, QUARANTINE, GRANTS):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP SCHEMA analytics CASCADE")
