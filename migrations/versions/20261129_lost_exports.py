"""Allow lost files of an export to be written again, with new digests in its row."""

from alembic import op

revision = "20261129_lost_exports"
down_revision = "20261129_watches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("GRANT UPDATE ON exports TO wordwave_writer")


def downgrade() -> None:
    op.execute("REVOKE UPDATE ON exports FROM wordwave_writer")
