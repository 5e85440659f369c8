"""Add the version of the checks that a content passed: 0 for older ones, whose audio may be wrong.

A constant default rewrites no row, so this is fast on a large table. The writer still cannot change tokens,
except to replace, once, the stored data of a content that was never checked.
"""

from alembic import op

revision = "20261129_content_checks"
down_revision = "20261129_current_answers"
branch_labels = None
depends_on = None

COLUMN = """
ALTER TABLE contents ADD COLUMN checks SMALLINT DEFAULT 0 NOT NULL;
ALTER TABLE contents ALTER COLUMN checks SET DEFAULT 1;
CREATE INDEX ix_contents_unchecked ON contents (sha256) WHERE checks = 0;
"""

FUNCTIONS = """
CREATE FUNCTION confirm_contents(digests bytea[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  UPDATE contents SET checks = 1 WHERE sha256 = ANY (digests) AND checks = 0
$$;

CREATE FUNCTION discard_tokens(digests bytea[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  DELETE FROM pooled_latents l USING contents c
  WHERE c.sha256 = l.content_sha256 AND c.sha256 = ANY (digests) AND c.checks = 0;
  DELETE FROM token_sequences s USING contents c
  WHERE c.sha256 = s.content_sha256 AND c.sha256 = ANY (digests) AND c.checks = 0;
$$;

CREATE FUNCTION restate_content(
  digest bytea, new_rate integer, new_channels smallint, new_samples bigint, new_format text, new_peak float8
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT discard_tokens(ARRAY[digest]);
  UPDATE contents SET sample_rate = new_rate, channels = new_channels, num_samples = new_samples,
    format = new_format, peak = new_peak, checks = 1
  WHERE sha256 = digest AND checks = 0;
$$;
"""

SIGNATURES = (
    "confirm_contents(bytea[])",
    "discard_tokens(bytea[])",
    "restate_content(bytea, integer, smallint, bigint, text, float8)",
)


def upgrade() -> None:
    op.execute(COLUMN)
    op.execute(FUNCTIONS)
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO wordwave_writer")


def downgrade() -> None:
    for signature in reversed(SIGNATURES):
        op.execute(f"DROP FUNCTION {signature}")
    op.execute("DROP INDEX ix_contents_unchecked")
    op.execute("ALTER TABLE contents DROP COLUMN checks")
