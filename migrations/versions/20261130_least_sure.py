"""Read the least sure answers from the kept current ones, in the order of their own index."""

from alembic import op

revision = "20261130_least_sure"
down_revision = "20261130_kept_answers"
branch_labels = None
depends_on = None

LEAST_SURE = """
CREATE VIEW analytics.least_sure AS
SELECT c.id AS clip_id, c.uri, c.last_modified, a.content_sha256, a.task, a.library, a.label, a.margin,
  a.status = 'uncertain' AS is_uncertain, a.prediction_id AS answer, a.status
FROM current_answers a
JOIN clips c ON c.content_sha256 = a.content_sha256
WHERE c.missing_since IS NULL;

COMMENT ON VIEW analytics.least_sure IS
  'The current answers about clips that are there, quick to read in the order of margin, answer';
COMMENT ON COLUMN analytics.least_sure.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.least_sure.is_uncertain IS 'The status is uncertain';
COMMENT ON COLUMN analytics.least_sure.answer IS 'The row of history';
COMMENT ON COLUMN analytics.least_sure.status IS 'As in labels';
GRANT SELECT ON analytics.least_sure TO wordwave_writer, wordwave_analyst;
DROP INDEX ix_predictions_margin_id;
"""

BEFORE = """
CREATE INDEX ix_predictions_margin_id ON predictions (margin, id) WHERE retracted_by_run IS NULL;
CREATE VIEW analytics.least_sure AS
SELECT c.id AS clip_id, c.uri, c.last_modified, p.content_sha256, p.task, d.name AS library, p.label,
  p.margin, p.margin < p.min_margin AS is_uncertain, p.id AS answer
FROM predictions p
JOIN demonstration_sets d ON d.id = p.demonstration_set_id
LEFT JOIN promotions q ON q.task = p.task AND q.library = d.name
JOIN clips c ON c.content_sha256 = p.content_sha256
WHERE p.retracted_by_run IS NULL AND c.missing_since IS NULL AND NOT EXISTS (
  SELECT FROM predictions o
  JOIN demonstration_sets e ON e.id = o.demonstration_set_id
  WHERE o.content_sha256 = p.content_sha256 AND o.task = p.task AND o.retracted_by_run IS NULL
    AND e.name = d.name AND o.id <> p.id AND (
      (q.demonstration_set_id = o.demonstration_set_id AND q.codec_id = o.codec_id
        AND q.llm_id IS NOT DISTINCT FROM o.llm_id) IS TRUE, o.created_at, o.id
    ) > (
      (q.demonstration_set_id = p.demonstration_set_id AND q.codec_id = p.codec_id
        AND q.llm_id IS NOT DISTINCT FROM p.llm_id) IS TRUE, p.created_at, p.id));
GRANT SELECT ON analytics.least_sure TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute("DROP VIEW analytics.least_sure")
    op.execute(LEAST_SURE)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.least_sure")
    op.execute(BEFORE)
