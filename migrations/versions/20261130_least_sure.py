"""Add a view of the least sure answers, which reads the kept current ones in the order of their index."""

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
"""


def upgrade() -> None:
    op.execute(LEAST_SURE)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.least_sure")
