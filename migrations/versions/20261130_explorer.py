"""Add views for people who look at nights and listen to clips, and an index to find clips by their words."""

from alembic import op

revision = "20261130_explorer"
down_revision = "20261130_denoising_methods"
branch_labels = None
depends_on = None

INDEX = "CREATE INDEX ix_token_sequences_semantic ON token_sequences USING gin (semantic)"

NIGHTS = r"""
CREATE VIEW analytics.nights AS
SELECT r.id AS run, r.flow_run_id AS flow_run, r.kind, r.parameters ->> 'prefix' AS prefix, p.place, r.day,
  p.begins, p.begins + interval '1 day' AS ends, split_part(r.parameters ->> 'library', '@', 1) AS library,
  r.parameters ->> 'library' AS library_version, r.status, r.started_at, r.finished_at,
  extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds,
  s.answered, coalesce((r.summary ->> 'uncertain')::bigint, 0) AS uncertain,
  coalesce((r.summary ->> 'unknown')::bigint, 0) AS unknown, s.quarantined,
  (r.summary ->> 'mean_margin')::double precision AS mean_margin, r.summary -> 'agreement' AS agreement,
  r.summary -> 'labels' AS labels, r.summary -> 'quarantined' AS reasons, r.summary -> 'doubts' AS doubts
FROM runs r
CROSS JOIN LATERAL (
  SELECT substr(r.partition_key, length(r.kind) + 2) AS name,
    CASE WHEN r.day IS NOT NULL AND position('{day}' IN r.parameters ->> 'prefix') = 0 THEN
      substring(r.partition_key FROM ' (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)$') END AS midnight
) n
CROSS JOIN LATERAL (
  SELECT n.midnight::timestamptz AS begins,
    CASE WHEN n.midnight IS NULL THEN n.name ELSE left(n.name, -1 - length(n.midnight)) END AS place
) p
CROSS JOIN LATERAL (
  SELECT (SELECT coalesce(sum(value::bigint), 0)::bigint FROM jsonb_each_text(r.summary -> 'labels'))
    AS answered,
    (SELECT coalesce(sum(value::bigint), 0)::bigint FROM jsonb_each_text(r.summary -> 'quarantined'))
    AS quarantined
) s
WHERE r.kind IN ('nightly-labeling', 'label');

COMMENT ON VIEW analytics.nights IS
  'Runs that labeled a place or a day of it, with the figures as they were at their end';
COMMENT ON COLUMN analytics.nights.kind IS 'nightly-labeling, or label for the command of that name';
COMMENT ON COLUMN analytics.nights.prefix IS 'The place with {day}, which the nights of a series share';
COMMENT ON COLUMN analytics.nights.place IS 'The folder whose clips were labeled';
COMMENT ON COLUMN analytics.nights.begins IS
  'Clips last modified from then to ends were labeled; null where all clips of the place were';
COMMENT ON COLUMN analytics.nights.ends IS 'A day after begins, up to an hour off where clocks change';
COMMENT ON COLUMN analytics.nights.library IS 'The library without its version';
COMMENT ON COLUMN analytics.nights.seconds IS 'From started_at to finished_at';
COMMENT ON COLUMN analytics.nights.answered IS 'Clips with an answer, uncertain ones too';
COMMENT ON COLUMN analytics.nights.uncertain IS 'Answers with a margin under the asked bound';
COMMENT ON COLUMN analytics.nights.unknown IS 'Answers that no label was near enough for';
COMMENT ON COLUMN analytics.nights.quarantined IS 'Clips that could not be used';
COMMENT ON COLUMN analytics.nights.agreement IS
  'Share of answers that match a baseline, by its name; clips that are demonstrations do not count';
COMMENT ON COLUMN analytics.nights.labels IS 'Clips by label';
COMMENT ON COLUMN analytics.nights.reasons IS 'Quarantined clips by reason';
COMMENT ON COLUMN analytics.nights.doubts IS 'Figures beyond the bounds of the place, in words';
"""

DEMONSTRATIONS = """
CREATE VIEW analytics.demonstrations AS
SELECT s.name AS library, s.version, s.task, s.instruction, d.ordinal, d.label, d.uri, c.duration, c.format,
  d.target_uri, s.created_at, d.content_sha256, d.target_content_sha256
FROM demonstrations d
JOIN demonstration_sets s ON s.id = d.demonstration_set_id
JOIN contents c ON c.sha256 = d.content_sha256;

COMMENT ON VIEW analytics.demonstrations IS 'What the libraries show: one row per clip of each version';
COMMENT ON COLUMN analytics.demonstrations.ordinal IS 'Place in the prompt, from 0';
COMMENT ON COLUMN analytics.demonstrations.label IS
  'The label, or the text that is said; null for a noisy clip, which has a target instead';
COMMENT ON COLUMN analytics.demonstrations.uri IS 'Where the clip was when it was imported';
COMMENT ON COLUMN analytics.demonstrations.duration IS 'Seconds of audio';
COMMENT ON COLUMN analytics.demonstrations.created_at IS 'When the version was made';
"""

LATENTS = """
CREATE VIEW analytics.latents AS
SELECT l.content_sha256, k.fingerprint AS codec_fingerprint, l.mean, l.deviation
FROM pooled_latents l
JOIN codecs k ON k.id = l.codec_id;

COMMENT ON VIEW analytics.latents IS 'How each content sounds as a whole to a codec; alike by cosine';
COMMENT ON COLUMN analytics.latents.mean IS 'Mean over time of the latents, little-endian half precision';
COMMENT ON COLUMN analytics.latents.deviation IS 'Their deviation over time, in the same form';
"""

CODEBOOK = """
CREATE VIEW analytics.codebook AS
SELECT k.fingerprint AS codec_fingerprint, k.name AS codec, w.layer, w.code, w.word,
  k.code_samples[w.layer + 1]::double precision / k.sample_rate AS seconds
FROM codebook_words w
JOIN codecs k ON k.id = w.codec_id;

COMMENT ON VIEW analytics.codebook IS 'The word of each code; words has them clip by clip';
COMMENT ON COLUMN analytics.codebook.layer IS '0 semantic, 1 and 2 acoustic';
COMMENT ON COLUMN analytics.codebook.seconds IS 'The length of sound that a code of the layer stands for';
"""

HISTORY = """
CREATE VIEW analytics.history AS
SELECT p.content_sha256, p.task, d.name AS library, d.version, p.labeler, k.name AS codec,
  k.fingerprint AS codec_fingerprint, m.name AS llm, m.fingerprint AS llm_fingerprint, p.label,
  (p.probabilities ->> p.label)::double precision AS probability, p.margin, p.min_margin, p.probabilities,
  p.baselines, p.is_demonstration, p.provenance, p.seed, p.run_id AS run, p.created_at,
  p.retracted_by_run AS retracted_by, p.id AS answer
FROM predictions p
JOIN demonstration_sets d ON d.id = p.demonstration_set_id
JOIN codecs k ON k.id = p.codec_id
LEFT JOIN llms m ON m.id = p.llm_id;

COMMENT ON VIEW analytics.history IS
  'Every answer that was ever given about a content, with all that decided it; retracted ones too';
COMMENT ON COLUMN analytics.history.probability IS 'Of the label among the labels of the library';
COMMENT ON COLUMN analytics.history.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.history.min_margin IS 'The asked bound, under which an answer is uncertain';
COMMENT ON COLUMN analytics.history.baselines IS 'What the baselines say about the same clip, by name';
COMMENT ON COLUMN analytics.history.provenance IS 'Hash of the prompt, and what else decided the answer';
COMMENT ON COLUMN analytics.history.retracted_by IS 'The run that took the answer back; null while it stands';
"""

VIEWS = ("nights", "demonstrations", "latents", "codebook", "history")


def upgrade() -> None:
    op.execute(INDEX)
    for statements in (NIGHTS, DEMONSTRATIONS, LATENTS, CODEBOOK, HISTORY):
        op.execute(statements)
    for view in VIEWS:
        op.execute(f"GRANT SELECT ON analytics.{view} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW analytics.{view}")
    op.execute("DROP INDEX ix_token_sequences_semantic")
