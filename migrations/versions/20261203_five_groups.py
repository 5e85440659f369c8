"""Ask for five groups between six and four: four give up to ten thousand contents for 500 to compare."""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "20261203_five_groups"
down_revision = "20261203_merged_answers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _replace(_before().replace("ARRAY[6, 4, 3, 2, 1]", "ARRAY[6, 5, 4, 3, 2, 1]"))


def downgrade() -> None:
    _replace(_before())


def _before() -> str:
    similar: str = import_module("migrations.versions.20261201_similar_clips").SIMILAR
    return similar


def _replace(function: str) -> None:
    op.execute(sa.text(function.replace(":", r"\:")))
