"""Add a function that ends analysts' overdue sessions, since they can change their own timeouts.

It runs with its owner's rights, and the owner belongs to the analysts' role: it can end no other sessions.
"""

from alembic import op

revision = "20261129_overdue_analysts"
down_revision = "20261129_content_checks"
branch_labels = None
depends_on = None

FUNCTION = """
CREATE FUNCTION public.end_overdue_analysts(longest interval)
RETURNS TABLE (pid integer, lasted interval, state text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH overdue AS MATERIALIZED (  -- or the planner may end a session before it asks whose it is
    SELECT a.pid, clock_timestamp() - a.xact_start AS lasted, a.state
    FROM pg_stat_activity AS a
    WHERE a.usename = 'wordwave_analyst' AND a.datname = current_database()
      AND a.xact_start < clock_timestamp() - longest)
  SELECT overdue.pid, overdue.lasted, overdue.state FROM overdue WHERE pg_terminate_backend(overdue.pid)
$$;
COMMENT ON FUNCTION public.end_overdue_analysts(interval) IS
  'Ends the sessions of analysts whose transaction is older than that, working or idle, and says which';
REVOKE EXECUTE ON FUNCTION public.end_overdue_analysts(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.end_overdue_analysts(interval) TO wordwave_writer;
"""


def upgrade() -> None:
    op.execute(FUNCTION)


def downgrade() -> None:
    op.execute("DROP FUNCTION public.end_overdue_analysts(interval)")
