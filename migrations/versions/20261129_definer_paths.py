"""Let functions with their owner's rights look last in temporary schemas, where callers may put tables."""

from alembic import op

revision = "20261129_definer_paths"
down_revision = "20261129_begun_exports"
branch_labels = None
depends_on = None

SIGNATURES = (
    "confirm_contents(bytea[])",
    "discard_tokens(bytea[])",
    "restate_content(bytea, integer, smallint, bigint, text, float8)",
)


def _set_path(path: str) -> None:
    for signature in SIGNATURES:
        op.execute(f"ALTER FUNCTION public.{signature} SET search_path = {path}")


def upgrade() -> None:
    _set_path("pg_catalog, public, pg_temp")


def downgrade() -> None:
    _set_path("pg_catalog, public")
