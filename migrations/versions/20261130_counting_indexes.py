"""Let questions that count all labels read two indexes side by side, in the order of contents."""

from alembic import op

revision = "20261130_counting_indexes"
down_revision = "20261130_kept_words"
branch_labels = None
depends_on = None

INDEXES = """
CREATE INDEX ix_current_answers_library_content_sha256 ON current_answers (library, content_sha256)
  INCLUDE (task, label, margin, status, since);
DROP INDEX ix_clips_content_sha256;
CREATE INDEX ix_clips_content_sha256 ON clips (content_sha256)
  INCLUDE (is_newest, missing_since, first_seen, day);
"""
DROP = """
DROP INDEX ix_current_answers_library_content_sha256;
DROP INDEX ix_clips_content_sha256;
CREATE INDEX ix_clips_content_sha256 ON clips (content_sha256);
"""


def upgrade() -> None:
    op.execute(INDEXES)


def downgrade() -> None:
    op.execute(DROP)
