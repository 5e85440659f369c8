"""Add the requested parameters of a run that fixed some of them when it began, such as a library version."""

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
