"""What stood at the end of a run, so that the next one can be compared with it."""

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
