"""Read the answers of the written contents alone to say since when the new ones are current.

A bare maximum was looked for from the end of the index of times, which for contents without an answer is all
of it: writing a batch took the longer, the more answers there were.
"""

from importlib import import_module

from alembic import op

revision = "20261202_answer_times"
down_revision = "20261201_nearest_demonstrations"
branch_labels = None
depends_on = None

REFRESH = """
CREATE OR REPLACE FUNCTION refresh_current_answers(digests bytea[], some_may_go boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  moment timestamptz;
BEGIN
  PERFORM FROM contents t WHERE t.sha256 = ANY (digests) ORDER BY t.sha256 FOR NO KEY UPDATE;
  -- statements of their own, which see what those wrote that were waited for
  SELECT greatest(now(), max(s.changed_at)) INTO moment FROM (
    SELECT a.since AS changed_at FROM current_answers a WHERE a.content_sha256 = ANY (digests)
    UNION ALL
    SELECT o.until FROM past_answers o WHERE o.content_sha256 = ANY (digests)
    OFFSET 0 -- else the indexes of times are searched instead
  ) s;
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


def upgrade() -> None:
    op.execute(REFRESH)


def downgrade() -> None:
    op.execute(import_module("migrations.versions.20261130_past_answers").REFRESH)
