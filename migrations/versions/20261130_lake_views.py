"""Add the views that the files of the lake are written from: their columns are the files' columns."""

from alembic import op

revision = "20261130_lake_views"
down_revision = "20261130_changes"
branch_labels = None
depends_on = None

LABELS = """
CREATE VIEW analytics.lake_labels AS
SELECT c.uri, c.day, regexp_replace(c.uri, '/[^/]*$', '') AS prefix, t.duration,
  encode(c.content_sha256, 'hex') AS content_sha256, a.library, d.version, a.task, a.status,
  NULL::text AS reason, a.label, (p.probabilities ->> a.label)::double precision AS probability, a.margin,
  (p.baselines ->> 'chance')::double precision AS chance, p.baselines ->> 'majority' AS majority_label,
  p.baselines ->> 'nearest' AS nearest_label, p.baselines ->> 'nearest_latent' AS nearest_latent_label,
  p.probabilities, a.is_demonstration, p.labeler, m.name AS llm, m.fingerprint AS llm_fingerprint,
  k.name AS codec, k.fingerprint AS codec_fingerprint, p.provenance ->> 'prompt_hash' AS prompt_hash,
  p.run_id AS run, a.created_at
FROM clips c
JOIN contents t ON t.sha256 = c.content_sha256
JOIN current_answers a ON a.content_sha256 = c.content_sha256
JOIN predictions p ON p.id = a.prediction_id
JOIN demonstration_sets d ON d.id = p.demonstration_set_id
JOIN codecs k ON k.id = p.codec_id
LEFT JOIN llms m ON m.id = p.llm_id
WHERE c.missing_since IS NULL
UNION ALL
SELECT c.uri, c.day, regexp_replace(c.uri, '/[^/]*$', ''), t.duration, encode(c.content_sha256, 'hex'),
  n.library, NULL, 'label', 'quarantined', q.reason, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, q.last_run, q.last_seen
FROM quarantine q
JOIN clips c ON c.id = q.clip_id
LEFT JOIN contents t ON t.sha256 = c.content_sha256
CROSS JOIN (SELECT DISTINCT library FROM analytics.nights) n
WHERE q.resolved_at IS NULL AND c.missing_since IS NULL
  AND EXISTS (
    SELECT FROM analytics.nights p
    WHERE p.library = n.library AND (c.uri = p.place OR starts_with(c.uri, p.place || '/')))
  AND NOT EXISTS (
    SELECT FROM quarantine o WHERE o.clip_id = q.clip_id AND o.resolved_at IS NULL AND o.id > q.id)
  AND NOT EXISTS (
    SELECT FROM current_answers a WHERE a.content_sha256 = c.content_sha256 AND a.library = n.library);

COMMENT ON VIEW analytics.lake_labels IS
  'What the files labels/day=D/library=L/labels.parquet are written from: clips that are there, with their '
  'answer or with the reason why they have none';
COMMENT ON COLUMN analytics.lake_labels.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.lake_labels.prefix IS 'The folder of the uri';
COMMENT ON COLUMN analytics.lake_labels.duration IS 'Seconds of audio; null if it was not read';
COMMENT ON COLUMN analytics.lake_labels.content_sha256 IS 'Digest of the bytes in hex';
COMMENT ON COLUMN analytics.lake_labels.version IS 'Version of the library';
COMMENT ON COLUMN analytics.lake_labels.status IS 'labeled, uncertain, unknown or quarantined';
COMMENT ON COLUMN analytics.lake_labels.reason IS 'Why a clip is quarantined; null for others';
COMMENT ON COLUMN analytics.lake_labels.probability IS 'Of the label among the labels of the library';
COMMENT ON COLUMN analytics.lake_labels.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.lake_labels.chance IS 'Probability of being right by guessing';
COMMENT ON COLUMN analytics.lake_labels.majority_label IS 'What always saying the commonest label says';
COMMENT ON COLUMN analytics.lake_labels.nearest_label IS 'What the nearest demonstration by codes says';
COMMENT ON COLUMN analytics.lake_labels.nearest_latent_label IS
  'What the nearest demonstration by pooled latent says';
COMMENT ON COLUMN analytics.lake_labels.probabilities IS 'Every label with its probability';
COMMENT ON COLUMN analytics.lake_labels.is_demonstration IS 'The library has this audio: not for accuracies';
COMMENT ON COLUMN analytics.lake_labels.labeler IS 'The method that answered';
COMMENT ON COLUMN analytics.lake_labels.llm IS 'The language model; null for a labeler without one';
COMMENT ON COLUMN analytics.lake_labels.prompt_hash IS 'Of instruction, demonstrations and window';
COMMENT ON COLUMN analytics.lake_labels.run IS 'The run that answered, or that quarantined the clip';
COMMENT ON COLUMN analytics.lake_labels.created_at IS 'When it did';
"""

TOKENS = """
CREATE VIEW analytics.lake_tokens AS
SELECT c.uri, c.day, regexp_replace(c.uri, '/[^/]*$', '') AS prefix, t.duration,
  encode(c.content_sha256, 'hex') AS content_sha256, k.name AS codec_name, k.fingerprint AS codec_fingerprint,
  s.semantic, s.acoustic1, s.acoustic2, s.levels, s.run_id AS run, s.created_at
FROM clips c
JOIN contents t ON t.sha256 = c.content_sha256
JOIN token_sequences s ON s.content_sha256 = c.content_sha256
JOIN codecs k ON k.id = s.codec_id
WHERE c.missing_since IS NULL;

COMMENT ON VIEW analytics.lake_tokens IS
  'What the files tokens/day=D/codec=C/tokens.parquet are written from: codes of the clips that are there';
COMMENT ON COLUMN analytics.lake_tokens.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.lake_tokens.prefix IS 'The folder of the uri';
COMMENT ON COLUMN analytics.lake_tokens.duration IS 'Seconds of audio';
COMMENT ON COLUMN analytics.lake_tokens.content_sha256 IS 'Digest of the bytes in hex';
COMMENT ON COLUMN analytics.lake_tokens.codec_fingerprint IS 'Its first twelve digits name the folder';
COMMENT ON COLUMN analytics.lake_tokens.semantic IS 'Layer 0: codes into the codebook of words';
COMMENT ON COLUMN analytics.lake_tokens.acoustic1 IS 'Layer 1';
COMMENT ON COLUMN analytics.lake_tokens.acoustic2 IS 'Layer 2';
COMMENT ON COLUMN analytics.lake_tokens.levels IS 'RMS under each semantic code, in tenths of dB';
COMMENT ON COLUMN analytics.lake_tokens.run IS 'The run that tokenized the content';
"""

INDEXES = """
-- each night asks which answers and clips changed since the one before
CREATE INDEX ix_current_answers_since ON current_answers (since);
CREATE INDEX ix_clips_missing_since ON clips (missing_since) WHERE missing_since IS NOT NULL;
"""

VIEWS = ("lake_labels", "lake_tokens")


def upgrade() -> None:
    op.execute(INDEXES)
    op.execute(LABELS)
    op.execute(TOKENS)
    for view in VIEWS:
        op.execute(f"GRANT SELECT ON analytics.{view} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"DROP VIEW analytics.{view}")
    op.execute("DROP INDEX ix_clips_missing_since, ix_current_answers_since")
