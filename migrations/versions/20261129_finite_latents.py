"""Refuse a pooled latent with an infinity or NaN; rows that have one already stay as they are.

In half precision that is a number whose exponent bits are all set: with the low byte first, each number is
four hex digits, the third 7 or f and the fourth c to f.
"""

from alembic import op

revision = "20261129_finite_latents"
down_revision = "20261129_run_requests"
branch_labels = None
depends_on = None

CONSTRAINT = """
ALTER TABLE pooled_latents ADD CONSTRAINT ck_pooled_latents_finite CHECK (
  encode(mean, 'hex') !~ '^(....)*..[7f][c-f]' AND encode(deviation, 'hex') !~ '^(....)*..[7f][c-f]'
) NOT VALID;

DO $$ BEGIN
  ALTER TABLE pooled_latents VALIDATE CONSTRAINT ck_pooled_latents_finite;
EXCEPTION WHEN check_violation THEN
  RAISE NOTICE 'some pooled latents of earlier versions are not finite';
END $$;
"""


def upgrade() -> None:
    op.execute(CONSTRAINT)


def downgrade() -> None:
    op.execute("ALTER TABLE pooled_latents DROP CONSTRAINT ck_pooled_latents_finite")
