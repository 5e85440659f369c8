"""Add the completion time of exports, whose row is now written before their files."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_begun_exports"
down_revision = "20261129_lost_exports"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("exports", sa.Column("completed_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE exports SET completed_at = created_at")
    op.execute("REVOKE UPDATE ON exports FROM wordwave_writer")
    op.execute("GRANT UPDATE (sha256s, completed_at) ON exports TO wordwave_writer")


def downgrade() -> None:
    op.execute("REVOKE UPDATE (sha256s, completed_at) ON exports FROM wordwave_writer")
    op.execute("GRANT UPDATE ON exports TO wordwave_writer")
    op.execute("DELETE FROM exports WHERE completed_at IS NULL")
    op.drop_column("exports", "completed_at")
