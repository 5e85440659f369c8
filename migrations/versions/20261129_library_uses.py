"""Add the version in use of a library, so that importing a version does not change tonight's run.

For existing libraries, the newest version is in use, as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261129_library_uses"
down_revision = "20261129_run_figures"
branch_labels = None
depends_on = None

NEWEST = """
INSERT INTO library_uses (demonstration_set_id)
SELECT DISTINCT ON (name) id FROM demonstration_sets ORDER BY name, version DESC
"""


def upgrade() -> None:
    op.create_table(
        "library_uses",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("demonstration_set_id", sa.Integer(), nullable=False),
        sa.Column("used_since", sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_library_uses")),
        sa.ForeignKeyConstraint(
            ["demonstration_set_id"],
            ["demonstration_sets.id"],
            name=op.f("fk_library_uses_demonstration_set_id_demonstration_sets"),
        ),
    )
    op.execute("GRANT SELECT, INSERT ON library_uses TO wordwave_writer")
    op.execute(NEWEST)


def downgrade() -> None:
    op.drop_table("library_uses")
