"""Runs as analysts read them, under our id and under Prefect's.

A run that is taken up keeps the flow runs that worked on it before.
"""

from alembic import op

revision = "20261129_run_view"
down_revision = "20261129_finite_latents"
branch_labels = None
depends_on = None

COLUMN = """
ALTER TABLE runs ADD COLUMN earlier_flow_runs text[] NOT NULL DEFAULT '{}';
CREATE INDEX ix_runs_flow_run_id ON runs (flow_run_id);
"""

VIEW = """
CREATE VIEW analytics.runs AS
SELECT r.id AS run, r.flow_run_id AS flow_run, r.earlier_flow_runs, r.kind,
  substr(r.partition_key, length(r.kind) + 2) AS place, r.day, r.parameters ->> 'library' AS library,
  r.status, r.counts, r.attempts, r.started_at, r.finished_at,
  extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds,
  r.parameters, r.code_version
FROM runs r;

COMMENT ON VIEW analytics.runs IS 'Runs and the flow runs of Prefect that did them, one row per run';
COMMENT ON COLUMN analytics.runs.run IS 'The id that the column run of the other views names';
COMMENT ON COLUMN analytics.runs.flow_run IS
  'The id on the page of the flow run in Prefect; null for a run of the command line';
COMMENT ON COLUMN analytics.runs.earlier_flow_runs IS 'Flow runs that died and whose run was taken up';
COMMENT ON COLUMN analytics.runs.kind IS 'The flow, or label for the command of that name';
COMMENT ON COLUMN analytics.runs.place IS
  'What it was about: the folder, with the beginning of the day where the clips of one day were selected; '
  'else a library or another run';
COMMENT ON COLUMN analytics.runs.day IS 'The day that it was for; null where it was for no certain day';
COMMENT ON COLUMN analytics.runs.library IS 'The library version that was asked for; null where none was';
COMMENT ON COLUMN analytics.runs.status IS
  'running, completed, failed or cancelled; a run whose process was killed is running until it is taken up';
COMMENT ON COLUMN analytics.runs.counts IS
  'Clips by stage.outcome, over all attempts. label.uncertain are some of label.labeled';
COMMENT ON COLUMN analytics.runs.attempts IS 'How often it was begun or taken up';
COMMENT ON COLUMN analytics.runs.started_at IS 'When its first attempt began';
COMMENT ON COLUMN analytics.runs.finished_at IS 'When its last attempt ended; null while it is running';
COMMENT ON COLUMN analytics.runs.seconds IS 'From started_at to finished_at';
COMMENT ON COLUMN analytics.runs.parameters IS 'What was asked for, with the library version that it meant';
COMMENT ON COLUMN analytics.runs.code_version IS 'The code that ran';
GRANT SELECT ON analytics.runs TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute(COLUMN)
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.runs")
    op.execute("DROP INDEX ix_runs_flow_run_id; ALTER TABLE runs DROP COLUMN earlier_flow_runs")
