"""Let the job that counts words put new codes in their places in the index of codes.

Writers append them to a list, which is fast, and which each search reads to its end.
"""

from alembic import op

revision = "20261202_settled_codes"
down_revision = "20261202_counted_days"
branch_labels = None
depends_on = None

SETTLE = """
CREATE FUNCTION settle_code_index() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT gin_clean_pending_list('ix_token_sequences_marks')
$$;
REVOKE EXECUTE ON FUNCTION settle_code_index() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_code_index() TO wordwave_writer;
"""


def upgrade() -> None:
    op.execute(SETTLE)


def downgrade() -> None:
    op.execute("DROP FUNCTION settle_code_index()")
