"""What a run was asked, where it fixed a part of that when it began, such as the version of a library."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261129_run_requests"
down_revision = "20261129_overdue_analysts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("asked", JSONB()))


def downgrade() -> None:
    op.drop_column("runs", "asked")
