"""Rewrite the view of current answers with a plan that is fast on large tables.

The joins are made where the planner has statistics, and a filter on the library reaches the answers before
they are sorted. Most clips are current, which their own row tells.
"""

from alembic import op

revision = "20261129_current_answers"
down_revision = "20261125_generated_audio"
branch_labels = None
depends_on = None

CLIPS = """
CREATE OR REPLACE VIEW {schema}.clips AS
SELECT
  c.uri, c.size, c.last_modified, c.first_seen, c.missing_since,
  t.duration, t.sample_rate, t.channels, t.format, t.peak, c.content_sha256, c.id AS clip_id
FROM clips c
LEFT JOIN contents t ON t.sha256 = c.content_sha256
WHERE c.missing_since IS NULL OR NOT EXISTS (
  SELECT FROM clips n
  WHERE n.uri = c.uri AND (n.missing_since IS NULL OR (n.missing_since, n.id) > (c.missing_since, c.id)));
"""

LABELS = """
CREATE OR REPLACE VIEW {schema}.labels AS
SELECT c.uri, a.task, a.label, (a.probabilities ->> a.label)::double precision AS probability, a.margin,
  CASE WHEN a.margin < a.min_margin THEN 'uncertain' ELSE 'labeled' END AS status,
  (a.baselines ->> 'chance')::double precision AS chance,
  a.baselines ->> 'majority' AS majority_label, a.baselines ->> 'nearest' AS nearest_label,
  a.baselines ->> 'nearest_latent' AS nearest_latent_label,
  a.probabilities, a.is_demonstration, a.library, a.version, a.labeler, a.llm,
  a.codec, a.is_promoted, a.run_id AS run, a.created_at, c.missing_since, a.content_sha256
FROM (
  SELECT DISTINCT ON (p.content_sha256, p.task, d.name)
    p.*, d.name AS library, d.version, k.name AS codec, m.name AS llm, q.task IS NOT NULL AS is_promoted
  FROM predictions p
  JOIN demonstration_sets d ON d.id = p.demonstration_set_id
  JOIN codecs k ON k.id = p.codec_id
  LEFT JOIN llms m ON m.id = p.llm_id
  LEFT JOIN promotions q ON q.task = p.task AND q.demonstration_set_id = p.demonstration_set_id
    AND q.codec_id = p.codec_id AND q.llm_id IS NOT DISTINCT FROM p.llm_id
  WHERE p.retracted_by_run IS NULL
  ORDER BY p.content_sha256, p.task, d.name, q.task NULLS LAST, p.created_at DESC, p.id DESC
) a
JOIN {schema}.clips c ON c.content_sha256 = a.content_sha256;
"""

CLIPS_BEFORE = """
CREATE OR REPLACE VIEW {schema}.clips AS
SELECT DISTINCT ON (c.uri)
  c.uri, c.size, c.last_modified, c.first_seen, c.missing_since,
  t.duration, t.sample_rate, t.channels, t.format, t.peak, c.content_sha256, c.id AS clip_id
FROM clips c
LEFT JOIN contents t ON t.sha256 = c.content_sha256
ORDER BY c.uri, c.missing_since DESC NULLS FIRST, c.id DESC;
"""

LABELS_BEFORE = """
CREATE OR REPLACE VIEW {schema}.labels AS
SELECT c.uri, a.task, a.label, (a.probabilities ->> a.label)::double precision AS probability, a.margin,
  CASE WHEN a.margin < a.min_margin THEN 'uncertain' ELSE 'labeled' END AS status,
  (a.baselines ->> 'chance')::double precision AS chance,
  a.baselines ->> 'majority' AS majority_label, a.baselines ->> 'nearest' AS nearest_label,
  a.baselines ->> 'nearest_latent' AS nearest_latent_label,
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
JOIN {schema}.clips c ON c.content_sha256 = a.content_sha256
JOIN demonstration_sets d ON d.id = a.demonstration_set_id
JOIN codecs k ON k.id = a.codec_id
LEFT JOIN llms m ON m.id = a.llm_id;
"""


def upgrade() -> None:
    for view in (CLIPS, LABELS):
        op.execute(view.format(schema="analytics"))


def downgrade() -> None:
    for view in (CLIPS_BEFORE, LABELS_BEFORE):
        op.execute(view.format(schema="analytics"))
