"""Fill the current answers of an old database in batches, each of its own transaction.

A filling that was cut off goes on where it was: a content is done when it has a row. What is written
meanwhile keeps its rows by the triggers.
"""

from alembic import op
from sqlalchemy import Connection, text

revision = "20261130_filled_answers"
down_revision = "20261130_kept_words"
branch_labels = None
depends_on = None

BATCH = 20_000
MISSING = text(
    """
    SELECT ARRAY(
      SELECT DISTINCT p.content_sha256 FROM predictions p
      WHERE p.retracted_by_run IS NULL AND p.content_sha256 > :last
        AND NOT EXISTS (SELECT FROM current_answers a WHERE a.content_sha256 = p.content_sha256)
      ORDER BY p.content_sha256 LIMIT :batch)
    """
)
FILL = text("SELECT refresh_current_answers(:contents, false)")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        last = b""
        while contents := missing(op.get_bind(), last):
            fill(op.get_bind(), contents)
            last = contents[-1]


def missing(connection: Connection, last: bytes) -> list[bytes]:
    """Return the next contents with answers and without a current one, in order."""
    found = connection.execute(MISSING, {"last": last, "batch": BATCH}).scalar_one()
    return [bytes(content) for content in found]


def fill(connection: Connection, contents: list[bytes]) -> None:
    """Write the current answers of a batch of contents."""
    connection.execute(FILL, {"contents": contents})


def downgrade() -> None:
    """Leave the rows: the migration before keeps them."""
