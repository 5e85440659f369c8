"""Keep past answers with the time in which they were the current ones, so that labels of then can be asked.

The history begins with this migration: what was undone, promoted or chosen before it left no times.
"""

from importlib import import_module

from alembic import op

revision = "20261130_past_answers"
down_revision = "20261130_analyst_views"
branch_labels = None
depends_on = None

TABLE = """
ALTER TABLE current_answers ADD COLUMN since TIMESTAMPTZ DEFAULT now() NOT NULL;
CREATE TABLE past_answers (
  LIKE current_answers,
  until TIMESTAMPTZ NOT NULL,
  CONSTRAINT pk_past_answers PRIMARY KEY (content_sha256, task, library, since),
  CONSTRAINT ck_past_answers_span CHECK (since < until)
);
CREATE INDEX ix_past_answers_until ON past_answers (until);
GRANT SELECT ON past_answers TO wordwave_writer;
"""

REFRESH = """
CREATE OR REPLACE FUNCTION refresh_current_answers(digests bytea[], some_may_go boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  moment timestamptz;
BEGIN
  PERFORM FROM contents t WHERE t.sha256 = ANY (digests) ORDER BY t.sha256 FOR NO KEY UPDATE;
  -- statements of their own, which see what those wrote that were waited for
  moment := greatest(now(),
    (SELECT max(a.since) FROM current_answers a WHERE a.content_sha256 = ANY (digests)),
    (SELECT max(o.until) FROM past_answers o WHERE o.content_sha256 = ANY (digests)));
  IF some_may_go THEN
    DELETE FROM current_answers a WHERE a.content_sha256 = ANY (digests) AND NOT EXISTS (
      SELECT FROM current_answers_defined d WHERE d.content_sha256 = ANY (digests)
        AND (d.content_sha256, d.task, d.library) = (a.content_sha256, a.task, a.library));
  END IF;
  INSERT INTO current_answers AS a (content_sha256, task, library, prediction_id, label, margin, status,
    is_promoted, is_chosen, is_demonstration, created_at, since)
  SELECT d.*, moment FROM current_answers_defined d WHERE d.content_sha256 = ANY (digests)
  ON CONFLICT (content_sha256, task, library) DO UPDATE SET prediction_id = excluded.prediction_id,
    label = excluded.label, margin = excluded.margin, status = excluded.status,
    is_promoted = excluded.is_promoted, is_chosen = excluded.is_chosen,
    is_demonstration = excluded.is_demonstration, created_at = excluded.created_at, since = excluded.since
  WHERE (a.prediction_id, a.label, a.margin, a.status, a.is_promoted, a.is_chosen, a.is_demonstration,
      a.created_at)
    IS DISTINCT FROM (excluded.prediction_id, excluded.label, excluded.margin, excluded.status,
      excluded.is_promoted, excluded.is_chosen, excluded.is_demonstration, excluded.created_at);
END $$;
"""

TRIGGERS = """
CREATE FUNCTION keep_past_answers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  -- an answer that was replaced in the transaction that gave it was never seen
  IF TG_OP = 'DELETE' THEN
    INSERT INTO past_answers SELECT o.*, now() FROM gone o
    WHERE o.since < now();
  ELSE
    INSERT INTO past_answers SELECT o.*, n.since FROM gone o
    JOIN come n ON (n.content_sha256, n.task, n.library) = (o.content_sha256, o.task, o.library)
    WHERE o.since < n.since;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER replaced_answers AFTER UPDATE ON current_answers
  REFERENCING OLD TABLE AS gone NEW TABLE AS come
  FOR EACH STATEMENT EXECUTE FUNCTION keep_past_answers();
CREATE TRIGGER ended_answers AFTER DELETE ON current_answers REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION keep_past_answers();
"""

VIEWS = """
CREATE VIEW analytics.versions AS
SELECT c.uri, c.version_token, c.size, c.last_modified, c.first_seen, c.missing_since, c.is_newest,
  c.id AS clip_id, c.content_sha256
FROM clips c;

COMMENT ON VIEW analytics.versions IS 'Every version of each audio object that a listing had';
COMMENT ON COLUMN analytics.versions.version_token IS
  'What storage calls the version: an ETag, or size and time of a local file';
COMMENT ON COLUMN analytics.versions.is_newest IS 'The version that clips shows';
COMMENT ON COLUMN analytics.versions.missing_since IS
  'When a listing no longer had it, or had a newer one; null while it is there';

CREATE VIEW analytics.label_spans AS
SELECT c.uri, a.task, a.library, a.label, a.margin, a.status, greatest(a.since, c.first_seen) AS since,
  least(a.until, c.missing_since) AS until, a.is_promoted, a.is_chosen, a.is_demonstration, a.created_at,
  a.prediction_id AS answer, c.id AS clip_id, a.content_sha256
FROM (
  SELECT content_sha256, task, library, label, margin, status, since, NULL::timestamptz AS until,
    is_promoted, is_chosen, is_demonstration, created_at, prediction_id
  FROM current_answers
  UNION ALL
  SELECT content_sha256, task, library, label, margin, status, since, until,
    is_promoted, is_chosen, is_demonstration, created_at, prediction_id
  FROM past_answers
) a
JOIN clips c ON c.content_sha256 = a.content_sha256
WHERE greatest(a.since, c.first_seen) < coalesce(least(a.until, c.missing_since), 'infinity');

COMMENT ON VIEW analytics.label_spans IS
  'From when until when a clip had a label by a library. Kept since the migration 20261130_past_answers: '
  'what was undone, promoted or chosen before it left no times';
COMMENT ON COLUMN analytics.label_spans.since IS
  'When the transaction began that made it the current answer, or when a listing first had the clip; answers '
  'from before the migration have its time';
COMMENT ON COLUMN analytics.label_spans.until IS
  'When another answer took its place, or the clip left; null while it is the current one';
COMMENT ON COLUMN analytics.label_spans.status IS 'As in labels';
COMMENT ON COLUMN analytics.label_spans.answer IS 'The row of history';
GRANT SELECT ON analytics.versions, analytics.label_spans TO wordwave_writer, wordwave_analyst;
"""

FUNCTION = """
CREATE FUNCTION analytics.labels_as_of(moment timestamptz) RETURNS SETOF analytics.label_spans
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000 AS $$
  SELECT s.* FROM analytics.label_spans s WHERE s.since <= moment AND (s.until IS NULL OR s.until > moment)
$$;

COMMENT ON FUNCTION analytics.labels_as_of(timestamptz) IS
  'The labels that clips had at a moment, one row per clip, task and library. From the migration '
  '20261130_past_answers on: earlier undoing and promoting left no times';
REVOKE EXECUTE ON FUNCTION analytics.labels_as_of(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.labels_as_of(timestamptz) TO wordwave_writer, wordwave_analyst;
"""

DROP = """
DROP FUNCTION analytics.labels_as_of(timestamptz);
DROP VIEW analytics.label_spans, analytics.versions;
DROP TRIGGER replaced_answers ON current_answers;
DROP TRIGGER ended_answers ON current_answers;
DROP FUNCTION keep_past_answers();
DROP TABLE past_answers;
ALTER TABLE current_answers DROP COLUMN since;
"""


def upgrade() -> None:
    for statements in (TABLE, REFRESH, TRIGGERS, VIEWS, FUNCTION):
        op.execute(statements)


def downgrade() -> None:
    op.execute(DROP)
    before = import_module("migrations.versions.20261130_kept_answers")
    first = before.REFRESH.partition("CREATE FUNCTION refresh_current_answers_of")[0]
    op.execute(first.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
