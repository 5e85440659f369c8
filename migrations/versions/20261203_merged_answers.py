"""Answer questions about all labels from two indexes in the same order, and look up earlier labels last.

Both indexes hold what such questions read, so that answers and clips are merged as they are read: before, all
clips were hashed in memory, and each answer searched there. The moment of `labels_as_of` is computed once, no
longer for each row. `changes` looks up the label of the bytes before only where the one since then is asked
for.
"""

from importlib import import_module

from alembic import op

revision = "20261203_merged_answers"
down_revision = "20261203_lighter_vectors"
branch_labels = None
depends_on = None

INDEXES = """
CREATE UNIQUE INDEX with_labels ON current_answers (content_sha256, task, library)
  INCLUDE (label, margin, since, prediction_id);
ALTER TABLE current_answers DROP CONSTRAINT pk_current_answers,
  ADD CONSTRAINT pk_current_answers PRIMARY KEY USING INDEX with_labels;
DROP INDEX ix_clips_content_sha256;
CREATE INDEX ix_clips_content_sha256 ON clips (content_sha256)
  INCLUDE (first_seen, missing_since, is_newest);
CREATE INDEX ix_clips_replaced ON clips (uri, id) WHERE NOT is_newest;
"""

INDEXES_BEFORE = """
ALTER TABLE current_answers DROP CONSTRAINT pk_current_answers,
  ADD CONSTRAINT pk_current_answers PRIMARY KEY (content_sha256, task, library);
DROP INDEX ix_clips_content_sha256, ix_clips_replaced;
CREATE INDEX ix_clips_content_sha256 ON clips (content_sha256);
"""

SPANS = """
CREATE VIEW analytics.answer_spans AS
SELECT content_sha256, task, library, label, margin, status, since, NULL::timestamptz AS until,
  is_promoted, is_chosen, is_demonstration, created_at, prediction_id AS answer
FROM current_answers
UNION ALL
SELECT content_sha256, task, library, label, margin, status, since, until,
  is_promoted, is_chosen, is_demonstration, created_at, prediction_id
FROM past_answers;

COMMENT ON VIEW analytics.answer_spans IS
  'From when until when a content had a label by a library, whether or not a clip was there: label_spans has '
  'them clip by clip. Kept since the migration 20261130_past_answers';
COMMENT ON COLUMN analytics.answer_spans.since IS
  'When the transaction began that made it the current answer';
COMMENT ON COLUMN analytics.answer_spans.until IS
  'When another answer took its place; null while it is the current one';
COMMENT ON COLUMN analytics.answer_spans.status IS 'As in labels';
COMMENT ON COLUMN analytics.answer_spans.answer IS 'The row of history';
GRANT SELECT ON analytics.answer_spans TO wordwave_writer, wordwave_analyst;
"""

AS_OF = """
CREATE OR REPLACE FUNCTION analytics.labels_as_of(moment timestamptz) RETURNS SETOF analytics.label_spans
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000 AS $$
  SELECT v.uri, a.task, a.library, a.label, a.margin, a.status, greatest(a.since, v.first_seen),
    least(a.until, v.missing_since), a.is_promoted, a.is_chosen, a.is_demonstration, a.created_at,
    a.answer, v.clip_id, a.content_sha256
  FROM analytics.answer_spans a JOIN analytics.versions v ON v.content_sha256 = a.content_sha256
  -- in a query of its own, the moment is computed once
  WHERE greatest(a.since, v.first_seen) <= (SELECT moment)
    AND (a.until IS NULL OR a.until > (SELECT moment))
    AND (v.missing_since IS NULL OR v.missing_since > (SELECT moment))
$$;
"""

AS_OF_BEFORE = """
CREATE OR REPLACE FUNCTION analytics.labels_as_of(moment timestamptz) RETURNS SETOF analytics.label_spans
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000 AS $$
  SELECT s.* FROM analytics.label_spans s WHERE s.since <= moment AND (s.until IS NULL OR s.until > moment)
$$;
"""

LAST_AND_FIRST = """JOIN LATERAL (
  SELECT DISTINCT ON (s.task, s.library) s.task, s.library, s.label, s.answer
  FROM analytics.label_spans s WHERE s.clip_id = g.id ORDER BY s.task, s.library, s.since DESC
) l ON true
JOIN LATERAL (
  SELECT DISTINCT ON (s.task, s.library) s.uri, s.task, s.library, s.label, s.answer, s.since
  FROM analytics.label_spans s WHERE s.clip_id = c.id ORDER BY s.task, s.library, s.since
) f ON f.task = l.task AND f.library = l.library AND f.label <> l.label"""

FIRST_AND_LAST = """JOIN LATERAL (
  SELECT DISTINCT ON (s.task, s.library) s.uri, s.task, s.library, s.label, s.answer, s.since
  FROM analytics.label_spans s WHERE s.clip_id = c.id ORDER BY s.task, s.library, s.since
) f ON true
JOIN LATERAL (
  SELECT s.label, s.answer FROM analytics.label_spans s
  WHERE s.clip_id = g.id AND s.task = f.task AND s.library = f.library ORDER BY s.since DESC LIMIT 1
) l ON l.label <> f.label"""


def upgrade() -> None:
    for statements in (INDEXES, SPANS, AS_OF):
        op.execute(statements)
    op.execute(_changes().replace(LAST_AND_FIRST, FIRST_AND_LAST))


def downgrade() -> None:
    op.execute(_changes())
    op.execute(AS_OF_BEFORE)
    op.execute("DROP VIEW analytics.answer_spans")
    op.execute(INDEXES_BEFORE)


def _changes() -> str:
    changes: str = import_module("migrations.versions.20261130_changes").CHANGES
    return changes.partition("COMMENT ON")[0].replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
