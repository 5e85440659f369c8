"""Add monitoring figures of each run's own processes: numbers that only grow, apart from its counts.

The counts of a night include those of its shards once it ends; figures stay with the run that did the work,
so that they add up over all runs.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261129_run_figures"
down_revision = "20261129_run_view"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW analytics.figures AS
SELECT split_part(f.key, '/', 1) AS figure, r.kind, split_part(f.key, '/', 2) AS stage,
  split_part(f.key, '/', 3) AS detail, sum(f.value::double precision) AS value
FROM runs r, jsonb_each_text(r.figures) AS f
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'runs', r.kind, '', r.status, count(*) FROM runs r GROUP BY r.kind, r.status
UNION ALL
SELECT 'runs_last_day', r.kind, '', r.status, count(*) FROM runs r
WHERE r.finished_at > now() - interval '1 day' GROUP BY r.kind, r.status
UNION ALL
SELECT 'last_completed', r.kind, '', '', extract(epoch FROM max(r.finished_at))
FROM runs r WHERE r.status = 'completed' GROUP BY r.kind
UNION ALL
SELECT 'quarantined_clips', '', q.stage, q.reason, count(*)
FROM quarantine q JOIN clips c ON c.id = q.clip_id
WHERE q.resolved_at IS NULL AND c.missing_since IS NULL GROUP BY q.stage, q.reason
UNION ALL
SELECT 'waiting_clips', '', '', '', count(*)
FROM clips c
WHERE c.content_sha256 IS NULL AND c.missing_since IS NULL
  AND NOT EXISTS (SELECT FROM quarantine q WHERE q.clip_id = c.id AND q.resolved_at IS NULL);

COMMENT ON VIEW analytics.figures IS 'Sums to watch over all runs: what was done, what it cost, what waits';
COMMENT ON COLUMN analytics.figures.figure IS
  'clips, batches, audio_seconds, seconds, errors, runs, runs_last_day, last_completed, quarantined_clips, '
  'waiting_clips';
COMMENT ON COLUMN analytics.figures.kind IS 'The flow of the runs; empty where it is none''s';
COMMENT ON COLUMN analytics.figures.stage IS 'The stage of the run, or that set the clips aside';
COMMENT ON COLUMN analytics.figures.detail IS
  'Outcome of clips, step of seconds, kind of errors, status of runs, reason of quarantined clips';
COMMENT ON COLUMN analytics.figures.value IS 'A number, of seconds where the figure says so';
GRANT SELECT ON analytics.figures TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.add_column(
        "runs", sa.Column("figures", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False)
    )
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.figures")
    op.drop_column("runs", "figures")
