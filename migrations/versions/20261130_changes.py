"""Show the labels that changed, with the reason, and the accuracy of nights by reviews, too."""

from importlib import import_module

from alembic import op

revision = "20261130_changes"
down_revision = "20261130_events"
branch_labels = None
depends_on = None

CHANGES = """
CREATE VIEW analytics.changes AS
SELECT c.uri, c.day, o.task, o.library, o.label AS label_before, n.label, o.until AS changed_at,
  CASE
    WHEN u.kind = 'recheck' AND u.started_at <= o.until THEN 'rechecked'
    WHEN u.started_at <= o.until THEN 'undone'
    WHEN n.created_at >= o.until THEN CASE
      WHEN q.demonstration_set_id <> p.demonstration_set_id THEN 'new library'
      WHEN (q.codec_id, q.llm_id, q.labeler) IS DISTINCT FROM (p.codec_id, p.llm_id, p.labeler)
        THEN 'new model'
      ELSE 'asked otherwise' END
    WHEN n.is_promoted AND (NOT o.is_promoted OR (q.demonstration_set_id, q.codec_id, q.llm_id)
      IS DISTINCT FROM (p.demonstration_set_id, p.codec_id, p.llm_id)) THEN 'promoted'
    WHEN n.is_chosen AND NOT o.is_chosen THEN 'labeler chosen'
    WHEN n.created_at > o.created_at THEN 'restored'
    ELSE 'undone' END AS reason,
  o.prediction_id AS answer_before, n.prediction_id AS answer, p.run_id AS run_before, q.run_id AS run,
  (SELECT url FROM explore_address) || '/clips/' || c.id AS link, c.id AS clip_id
FROM past_answers o
JOIN clips c ON c.content_sha256 = o.content_sha256 AND c.first_seen <= o.until
  AND (c.missing_since IS NULL OR c.missing_since > o.until)
JOIN predictions p ON p.id = o.prediction_id
LEFT JOIN runs u ON u.id = p.retracted_by_run
LEFT JOIN LATERAL (
  SELECT label, prediction_id, created_at, is_promoted, is_chosen FROM current_answers a
  WHERE (a.content_sha256, a.task, a.library) = (o.content_sha256, o.task, o.library) AND a.since = o.until
  UNION ALL
  SELECT label, prediction_id, created_at, is_promoted, is_chosen FROM past_answers a
  WHERE (a.content_sha256, a.task, a.library) = (o.content_sha256, o.task, o.library) AND a.since = o.until
) n ON true
LEFT JOIN predictions q ON q.id = n.prediction_id
WHERE n.label IS DISTINCT FROM o.label
UNION ALL
SELECT f.uri, c.day, f.task, f.library, l.label, f.label, f.since, 'new bytes', l.answer, f.answer, p.run_id,
  q.run_id, (SELECT url FROM explore_address) || '/clips/' || c.id, c.id
FROM clips g
JOIN LATERAL (
  SELECT v.id, v.day FROM clips v WHERE v.uri = g.uri AND v.id > g.id ORDER BY v.id LIMIT 1
) c ON true
JOIN LATERAL (
  SELECT DISTINCT ON (s.task, s.library) s.task, s.library, s.label, s.answer
  FROM analytics.label_spans s WHERE s.clip_id = g.id ORDER BY s.task, s.library, s.since DESC
) l ON true
JOIN LATERAL (
  SELECT DISTINCT ON (s.task, s.library) s.uri, s.task, s.library, s.label, s.answer, s.since
  FROM analytics.label_spans s WHERE s.clip_id = c.id ORDER BY s.task, s.library, s.since
) f ON f.task = l.task AND f.library = l.library AND f.label <> l.label
JOIN predictions p ON p.id = l.answer
JOIN predictions q ON q.id = f.answer
WHERE NOT g.is_newest;

COMMENT ON VIEW analytics.changes IS
  'Labels that changed while a clip was there, or when other bytes took its place, with the reason. Kept '
  'since the migration 20261130_past_answers, as label_spans';
COMMENT ON COLUMN analytics.changes.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.changes.label IS 'The label since then; null where no answer was left';
COMMENT ON COLUMN analytics.changes.changed_at IS 'When the transaction began that changed it';
COMMENT ON COLUMN analytics.changes.reason IS
  'new bytes, new library, new model (codec, language model or labeler), asked otherwise (other parameters), '
  'promoted, labeler chosen, undone, restored (an undoing was undone) or rechecked';
COMMENT ON COLUMN analytics.changes.answer_before IS 'The row of history with the label before';
COMMENT ON COLUMN analytics.changes.answer IS 'The row of history with the label since then';
COMMENT ON COLUMN analytics.changes.run_before IS 'The run that gave the answer before';
COMMENT ON COLUMN analytics.changes.run IS 'The run that gave the answer';
COMMENT ON COLUMN analytics.changes.link IS 'The page of the clip, as in clips';
GRANT SELECT ON analytics.changes TO wordwave_writer, wordwave_analyst;
"""

ACCURACY = """
CREATE OR REPLACE VIEW analytics.accuracy AS
SELECT n.run, n.day, n.place, n.library, n.library_version, n.started_at, n.source, n.truth, n.answers,
  n.correct, n.correct / n.answers AS accuracy,
  (n.correct / n.answers + 1.9208 / n.answers - w.half) / (1 + 3.8416 / n.answers) AS accuracy_low,
  (n.correct / n.answers + 1.9208 / n.answers + w.half) / (1 + 3.8416 / n.answers) AS accuracy_high
FROM (
  SELECT r.run, r.day, r.place, split_part(r.library, '@', 1) AS library, r.library AS library_version,
    r.started_at, 'canaries' AS source, r.parameters ->> 'canary_library' AS truth,
    (r.counts ->> 'canaries.asked')::double precision AS answers,
    coalesce((r.counts ->> 'canaries.right')::double precision, 0) AS correct
  FROM analytics.runs r
  WHERE r.counts ? 'canaries.asked'
  UNION ALL
  SELECT r.run, r.day, r.place, v.library, v.library || '@' || v.version, r.started_at, 'reviews',
    'random reviews', count(*)::double precision, (count(*) FILTER (WHERE v.is_right))::double precision
  FROM analytics.reviews v
  JOIN predictions p ON p.id = v.answer
  JOIN analytics.runs r ON r.run = p.run_id
  WHERE v.drawn = 'random' AND v.is_right IS NOT NULL
  GROUP BY r.run, r.day, r.place, v.library, v.version, r.started_at
) n
CROSS JOIN LATERAL (
  SELECT 1.96 * sqrt(n.correct / n.answers * (1 - n.correct / n.answers) / n.answers
    + 0.9604 / (n.answers * n.answers)) AS half
) w
WHERE n.answers > 0;

COMMENT ON COLUMN analytics.accuracy.source IS
  'canaries: clips of known labels that a night asks first; reviews: its answers that were drawn at random '
  'and decided by people';
COMMENT ON COLUMN analytics.accuracy.truth IS
  'The library version whose labels are the truth, or random reviews';
"""


def upgrade() -> None:
    op.execute(CHANGES)
    op.execute(ACCURACY)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.changes")
    before = import_module("migrations.versions.20261130_analyst_views")
    op.execute(before.ACCURACY.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
