"""Count what random reviews decided for the current answers of other versions, too.

They are a fair sample of the clips of each night, so what was decided before measures the next version.
"""

from importlib import import_module

from alembic import op

revision = "20261201_random_share"
down_revision = "20261130_lake_views"
branch_labels = None
depends_on = None

JUDGED = """
CREATE OR REPLACE VIEW analytics.review_accuracy AS
WITH decided AS (
  SELECT DISTINCT ON (r.library, r.content_sha256)
    r.library, r.content_sha256, r.verdict, r.decided_label, r.decided_at
  FROM analytics.reviews r
  WHERE r.drawn = 'random' AND r.verdict <> 'skip'
  ORDER BY r.library, r.content_sha256, r.decided_at DESC),
answers AS (
  SELECT r.library, r.version, r.content_sha256, r.decided_at AS judged_at, r.label, r.is_right,
    true AS was_queued
  FROM analytics.reviews r
  WHERE r.drawn = 'random' AND r.is_right IS NOT NULL
  UNION ALL
  SELECT d.library, s.version, d.content_sha256, greatest(d.decided_at, a.created_at), a.label,
    CASE d.verdict WHEN 'none' THEN a.status = 'unknown'
      ELSE d.decided_label = a.label AND a.status <> 'unknown' END, false
  FROM decided d
  JOIN current_answers a ON a.content_sha256 = d.content_sha256 AND a.library = d.library
    AND a.task = 'label' AND NOT a.is_demonstration
  JOIN predictions p ON p.id = a.prediction_id
  JOIN demonstration_sets s ON s.id = p.demonstration_set_id),
judged AS (
  SELECT DISTINCT ON (library, version, content_sha256)
    library, version, date_trunc('week', judged_at AT TIME ZONE 'UTC')::date AS week, label, is_right
  FROM answers
  ORDER BY library, version, content_sha256, was_queued DESC, judged_at DESC),
"""
COMMENTS = """
COMMENT ON VIEW analytics.review_accuracy IS
  'The accuracy of answers, from clips drawn at random among those of each night that are no '
  'demonstrations: a fair sample, since what was chosen and decided besides plays no part in the draw. What '
  'was decided about an earlier version counts for the current answers of the next';
COMMENT ON COLUMN analytics.review_accuracy.week IS
  'Monday of the week, in UTC, in which the decision and the answer were there; null for all weeks';
"""
INDEX = "CREATE INDEX ix_review_queue_content_sha256 ON review_queue (content_sha256)"


def upgrade() -> None:
    op.execute(INDEX)
    before = import_module("migrations.versions.20261130_reviews").ACCURACY
    rest = before[before.index("counted AS (") : before.index("COMMENT ON VIEW")]
    op.execute(JUDGED + rest + COMMENTS)


def downgrade() -> None:
    before = import_module("migrations.versions.20261130_reviews").ACCURACY
    op.execute(before.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute("DROP INDEX ix_review_queue_content_sha256")
