"""Keep the current answer of each content in a table, in the transactions that decide it.

The view current_answers_defined says which answer is the current one; triggers keep its rows in
current_answers, whoever writes. Analysts' questions then need no search. Writers of one content wait for each
other at its row in contents, and a promotion or a choice for the writers of its library.
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "20261130_kept_answers"
down_revision = "20261130_labeler_choices"
branch_labels = None
depends_on = None

DEFINED = """
CREATE VIEW current_answers_defined AS
WITH choices AS ({choices})
SELECT DISTINCT ON (p.content_sha256, p.task, d.name)
  p.content_sha256, p.task, d.name AS library, p.id AS prediction_id, p.label, p.margin,
  CASE WHEN p.distance > p.max_distance THEN 'unknown' WHEN p.margin < p.min_margin THEN 'uncertain'
    ELSE 'labeled' END AS status,
  q.task IS NOT NULL AS is_promoted, h.id IS NOT NULL AS is_chosen, p.is_demonstration, p.created_at
FROM predictions p
JOIN demonstration_sets d ON d.id = p.demonstration_set_id
LEFT JOIN choices h ON {chosen}
LEFT JOIN promotions q ON q.task = p.task AND q.demonstration_set_id = p.demonstration_set_id
  AND q.codec_id = p.codec_id
  AND (q.llm_id IS NOT DISTINCT FROM p.llm_id
    OR (h.id IS NOT NULL AND q.llm_id IS NOT DISTINCT FROM h.llm_id))
WHERE p.retracted_by_run IS NULL
ORDER BY p.content_sha256, p.task, d.name, q.task NULLS LAST,
  h.id IS NULL AND EXISTS (
    SELECT FROM predictions o JOIN choices h ON {other_chosen}
    WHERE o.content_sha256 = p.content_sha256 AND o.task = p.task AND o.retracted_by_run IS NULL
      AND o.demonstration_set_id = p.demonstration_set_id AND o.codec_id = p.codec_id
      AND (p.llm_id IS NULL OR p.llm_id = h.llm_id)),
  p.created_at DESC, p.id DESC;
"""

TABLE = """
CREATE TABLE current_answers (
  content_sha256 BYTEA NOT NULL,
  task TEXT NOT NULL,
  library TEXT NOT NULL,
  prediction_id BIGINT NOT NULL,
  label TEXT NOT NULL,
  margin DOUBLE PRECISION NOT NULL,
  status TEXT NOT NULL,
  is_promoted BOOLEAN NOT NULL,
  is_chosen BOOLEAN NOT NULL,
  is_demonstration BOOLEAN NOT NULL,
  created_at TIMESTAMPTZ NOT NULL,
  CONSTRAINT pk_current_answers PRIMARY KEY (content_sha256, task, library)
);
CREATE INDEX ix_current_answers_library_margin ON current_answers (library, margin);
GRANT SELECT ON current_answers, current_answers_defined TO wordwave_writer;
"""

REFRESH = """
CREATE FUNCTION refresh_current_answers(digests bytea[], some_may_go boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM contents t WHERE t.sha256 = ANY (digests) ORDER BY t.sha256 FOR NO KEY UPDATE;
  -- statements of their own, which see what those wrote that were waited for
  IF some_may_go THEN
    DELETE FROM current_answers a WHERE a.content_sha256 = ANY (digests) AND NOT EXISTS (
      SELECT FROM current_answers_defined d WHERE d.content_sha256 = ANY (digests)
        AND (d.content_sha256, d.task, d.library) = (a.content_sha256, a.task, a.library));
  END IF;
  INSERT INTO current_answers AS a
  SELECT * FROM current_answers_defined d WHERE d.content_sha256 = ANY (digests)
  ON CONFLICT (content_sha256, task, library) DO UPDATE SET prediction_id = excluded.prediction_id,
    label = excluded.label, margin = excluded.margin, status = excluded.status,
    is_promoted = excluded.is_promoted, is_chosen = excluded.is_chosen,
    is_demonstration = excluded.is_demonstration, created_at = excluded.created_at
  WHERE a IS DISTINCT FROM excluded;
END $$;

CREATE FUNCTION refresh_current_answers_of(set_ids integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  digests bytea[];
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('current answers ' || name, 0)) FROM (
    SELECT DISTINCT d.name FROM demonstration_sets d WHERE d.id = ANY (set_ids) ORDER BY d.name) libraries;
  digests := ARRAY(SELECT DISTINCT p.content_sha256 FROM predictions p
    WHERE p.demonstration_set_id = ANY (set_ids) ORDER BY p.content_sha256);
  FOR begin_at IN 1 .. cardinality(digests) BY 20000 LOOP
    PERFORM refresh_current_answers(digests[begin_at : begin_at + 19999], true);
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION refresh_current_answers(bytea[], boolean), refresh_current_answers_of(integer[])
  FROM PUBLIC;
"""

TRIGGERS = """
CREATE FUNCTION answers_were_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('current answers ' || name, 0)) FROM (
    SELECT DISTINCT d.name FROM demonstration_sets d
    WHERE d.id IN (SELECT demonstration_set_id FROM written) ORDER BY d.name) libraries;
  PERFORM refresh_current_answers(
    ARRAY(SELECT DISTINCT content_sha256 FROM written), TG_OP <> 'INSERT');
  RETURN NULL;
END $$;

CREATE FUNCTION what_counts_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM refresh_current_answers_of(ARRAY(SELECT demonstration_set_id FROM changed));
  RETURN NULL;
END $$;

CREATE TRIGGER inserted_answers AFTER INSERT ON predictions REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION answers_were_written();
CREATE TRIGGER updated_answers AFTER UPDATE ON predictions REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION answers_were_written();
CREATE TRIGGER deleted_answers AFTER DELETE ON predictions REFERENCING OLD TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION answers_were_written();
CREATE TRIGGER inserted_promotions AFTER INSERT ON promotions REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
CREATE TRIGGER updated_promotions AFTER UPDATE ON promotions REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
CREATE TRIGGER replaced_promotions AFTER UPDATE ON promotions REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
CREATE TRIGGER deleted_promotions AFTER DELETE ON promotions REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
CREATE TRIGGER inserted_choices AFTER INSERT ON labeler_choices REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
CREATE TRIGGER deleted_choices AFTER DELETE ON labeler_choices REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION what_counts_changed();
"""

NEWEST = """
ALTER TABLE clips ADD COLUMN is_newest BOOLEAN DEFAULT true NOT NULL;
CREATE FUNCTION refresh_newest_clips() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE clips o SET is_newest = NOT o.is_newest
  WHERE o.uri IN (SELECT uri FROM written) AND o.is_newest = (o.missing_since IS NOT NULL AND EXISTS (
    SELECT FROM clips n
    WHERE n.uri = o.uri AND (n.missing_since IS NULL OR (n.missing_since, n.id) > (o.missing_since, o.id))));
  RETURN NULL;
END $$;
UPDATE clips o SET is_newest = false
WHERE o.missing_since IS NOT NULL AND EXISTS (
  SELECT FROM clips n
  WHERE n.uri = o.uri AND (n.missing_since IS NULL OR (n.missing_since, n.id) > (o.missing_since, o.id)));
CREATE TRIGGER inserted_clips AFTER INSERT ON clips REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION refresh_newest_clips();
-- not after the update of this function itself
CREATE TRIGGER updated_clips AFTER UPDATE ON clips REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION refresh_newest_clips();
CREATE TRIGGER deleted_clips AFTER DELETE ON clips REFERENCING OLD TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION refresh_newest_clips();
"""

CLIPS = """
CREATE OR REPLACE VIEW analytics.clips AS
SELECT
  c.uri, c.size, c.last_modified, c.first_seen, c.missing_since,
  t.duration, t.sample_rate, t.channels, t.format, t.peak, c.content_sha256, c.id AS clip_id
FROM clips c
LEFT JOIN contents t ON t.sha256 = c.content_sha256
WHERE c.is_newest;
"""

LABELS = """
CREATE OR REPLACE VIEW analytics.labels AS
SELECT c.uri, a.task, a.label, (p.probabilities ->> a.label)::double precision AS probability, a.margin,
  a.status, (p.baselines ->> 'chance')::double precision AS chance,
  p.baselines ->> 'majority' AS majority_label, p.baselines ->> 'nearest' AS nearest_label,
  p.baselines ->> 'nearest_latent' AS nearest_latent_label,
  p.probabilities, a.is_demonstration, a.library, d.version, p.labeler, m.name AS llm,
  k.name AS codec, a.is_promoted, p.run_id AS run, a.created_at, c.missing_since, a.content_sha256,
  p.raw_probabilities, p.baselines -> 'labelers' AS by_labeler, p.distance, a.is_chosen
FROM current_answers a
JOIN analytics.clips c ON c.content_sha256 = a.content_sha256
-- one row each: what is not asked for is not joined
LEFT JOIN predictions p ON p.id = a.prediction_id
LEFT JOIN demonstration_sets d ON d.id = p.demonstration_set_id
LEFT JOIN codecs k ON k.id = p.codec_id
LEFT JOIN llms m ON m.id = p.llm_id;
"""

DROP = """
DROP TRIGGER inserted_answers ON predictions;
DROP TRIGGER updated_answers ON predictions;
DROP TRIGGER deleted_answers ON predictions;
DROP TRIGGER inserted_promotions ON promotions;
DROP TRIGGER updated_promotions ON promotions;
DROP TRIGGER replaced_promotions ON promotions;
DROP TRIGGER deleted_promotions ON promotions;
DROP TRIGGER inserted_choices ON labeler_choices;
DROP TRIGGER deleted_choices ON labeler_choices;
DROP TRIGGER inserted_clips ON clips;
DROP TRIGGER updated_clips ON clips;
DROP TRIGGER deleted_clips ON clips;
ALTER TABLE clips DROP COLUMN is_newest;
DROP FUNCTION answers_were_written(), what_counts_changed(), refresh_newest_clips();
DROP FUNCTION refresh_current_answers_of(integer[]), refresh_current_answers(bytea[], boolean);
DROP TABLE current_answers;
DROP VIEW current_answers_defined;
"""


def upgrade() -> None:
    op.execute(DEFINED.format(**_choices()))
    for statements in (TABLE, REFRESH, TRIGGERS, NEWEST, CLIPS, LABELS):
        op.execute(statements)


def downgrade() -> None:
    before = import_module("migrations.versions.20261130_labeler_choices")
    op.execute(sa.text(before.LABELS.partition("COMMENT")[0].format(**_choices())))
    older = import_module("migrations.versions.20261129_current_answers")
    op.execute(older.CLIPS.format(schema="analytics"))
    op.execute(DROP)


def _choices() -> dict[str, str]:
    """Return the parts of the definition that say which labeler is chosen."""
    before = import_module("migrations.versions.20261130_labeler_choices")
    chosen = {"chosen": before.CHOSEN.format(p="p"), "other_chosen": before.CHOSEN.format(p="o")}
    return {"choices": before.CHOICES, **chosen}
