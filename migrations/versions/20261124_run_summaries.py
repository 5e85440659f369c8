"""Add summaries of completed runs, for comparison with the next run."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "20261124_run_summaries"
down_revision = "20261124_generations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("summary", JSONB()))


def downgrade() -> None:
    op.drop_column("runs", "summary")
