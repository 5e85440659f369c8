"""Tell analysts the day and the page of each clip, who asked for a run and what it cost, and libraries.

The day of a clip is stored with it, so that a question by day reads an index. Adding it rewrites the table of
clips once. Runs from before do not say who asked, and cost nothing.
"""

from dataclasses import dataclass
from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "20261130_analyst_views"
down_revision = "20261130_least_sure"
branch_labels = None
depends_on = None

DAY = r"""
CREATE FUNCTION day_of_clip(uri text, last_modified timestamptz) RETURNS date
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  named text := substring(uri FROM
    '/(?:[^/]*(?:=|%3D))?([12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01]))/');
  first_of_month date := make_date(left(named, 4)::integer, substr(named, 6, 2)::integer, 1);
  named_day date := first_of_month + right(named, 2)::integer - 1;
BEGIN
  -- 30 February is a folder's name, and no day
  IF named_day < (first_of_month + interval '1 month')::date THEN
    RETURN named_day;
  END IF;
  RETURN (last_modified AT TIME ZONE 'UTC')::date;
END $$;
ALTER TABLE clips ADD COLUMN day date GENERATED ALWAYS AS (day_of_clip(uri, last_modified)) STORED;
CREATE INDEX ix_clips_day ON clips (day);
"""

PAGES = """
CREATE TABLE explore_address (
  is_current BOOLEAN DEFAULT true NOT NULL,
  url TEXT NOT NULL,
  CONSTRAINT pk_explore_address PRIMARY KEY (is_current),
  CONSTRAINT ck_explore_address_one_row CHECK (is_current)
);
GRANT SELECT, INSERT, UPDATE ON explore_address TO wordwave_writer;
"""

RUN_COLUMNS = """
ALTER TABLE runs ADD COLUMN asked_by TEXT, ADD COLUMN price_per_hour DOUBLE PRECISION,
  ADD CONSTRAINT ck_runs_price_per_hour CHECK (price_per_hour >= 0);
"""

CLIPS = """
CREATE OR REPLACE VIEW analytics.clips AS
SELECT
  c.uri, c.size, c.last_modified, c.first_seen, c.missing_since,
  t.duration, t.sample_rate, t.channels, t.format, t.peak, c.content_sha256, c.id AS clip_id,
  c.day, regexp_replace(c.uri, '/[^/]*$', '') AS prefix,
  CASE WHEN starts_with(c.uri, 's3://') THEN split_part(c.uri, '/', 3) END AS bucket,
  (SELECT url FROM explore_address) || '/clips/' || c.id AS link
FROM clips c
LEFT JOIN contents t ON t.sha256 = c.content_sha256
WHERE c.is_newest;

COMMENT ON COLUMN analytics.clips.day IS
  'The first folder of its uri that is a date, such as /2026-11-22/ or /day=2026-11-22/; else the day of '
  'last_modified in UTC';
COMMENT ON COLUMN analytics.clips.prefix IS 'The folder of the uri';
COMMENT ON COLUMN analytics.clips.bucket IS 'The bucket; null for a local file';
COMMENT ON COLUMN analytics.clips.link IS
  'The page to hear it and to see why it got its label; null until pages were served to a run';
"""

LABELS = """
CREATE OR REPLACE VIEW analytics.labels AS
SELECT c.uri, a.task, a.label, (p.probabilities ->> a.label)::double precision AS probability, a.margin,
  a.status, (p.baselines ->> 'chance')::double precision AS chance,
  p.baselines ->> 'majority' AS majority_label, p.baselines ->> 'nearest' AS nearest_label,
  p.baselines ->> 'nearest_latent' AS nearest_latent_label,
  p.probabilities, a.is_demonstration, a.library, d.version, p.labeler, m.name AS llm,
  k.name AS codec, a.is_promoted, p.run_id AS run, a.created_at, c.missing_since, a.content_sha256,
  p.raw_probabilities, p.baselines -> 'labelers' AS by_labeler, p.distance, a.is_chosen,
  c.day, c.link, p.provenance ->> 'prompt_hash' AS prompt_hash, a.prediction_id AS answer
FROM current_answers a
JOIN analytics.clips c ON c.content_sha256 = a.content_sha256
-- one row each: what is not asked for is not joined
LEFT JOIN predictions p ON p.id = a.prediction_id
LEFT JOIN demonstration_sets d ON d.id = p.demonstration_set_id
LEFT JOIN codecs k ON k.id = p.codec_id
LEFT JOIN llms m ON m.id = p.llm_id;

COMMENT ON COLUMN analytics.labels.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.labels.link IS 'The page of the clip, as in clips';
COMMENT ON COLUMN analytics.labels.prompt_hash IS
  'Of instruction, demonstrations and window: equal for answers to the same prompt';
COMMENT ON COLUMN analytics.labels.answer IS 'The row of history';
"""

LEAST_SURE = """
CREATE OR REPLACE VIEW analytics.least_sure AS
SELECT c.id AS clip_id, c.uri, c.last_modified, a.content_sha256, a.task, a.library, a.label, a.margin,
  a.status = 'uncertain' AS is_uncertain, a.prediction_id AS answer, a.status,
  c.day, (SELECT url FROM explore_address) || '/clips/' || c.id AS link
FROM current_answers a
JOIN clips c ON c.content_sha256 = a.content_sha256
WHERE c.missing_since IS NULL;

COMMENT ON COLUMN analytics.least_sure.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.least_sure.link IS 'The page of the clip, as in clips';
"""

RUNS = """
CREATE OR REPLACE VIEW analytics.runs AS
SELECT r.id AS run, r.flow_run_id AS flow_run, r.earlier_flow_runs, r.kind,
  substr(r.partition_key, length(r.kind) + 2) AS place, r.day, r.parameters ->> 'library' AS library,
  r.status, r.counts, r.attempts, r.started_at, r.finished_at,
  extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds,
  r.parameters, r.code_version, r.asked_by, (r.parameters ->> 'night')::uuid AS night,
  s.audio AS audio_seconds, s.compute AS compute_seconds, s.audio_by_stage, s.compute_by_stage,
  r.price_per_hour, s.compute / 3600 * r.price_per_hour AS cost
FROM runs r
LEFT JOIN LATERAL (
  SELECT coalesce(sum(b.audio), 0) AS audio, coalesce(sum(b.compute), 0) AS compute,
    coalesce(jsonb_object_agg(b.stage, b.audio) FILTER (WHERE b.audio IS NOT NULL), '{}') AS audio_by_stage,
    coalesce(jsonb_object_agg(b.stage, b.compute) FILTER (WHERE b.compute IS NOT NULL), '{}')
      AS compute_by_stage
  FROM (
    SELECT split_part(f.key, '/', 2) AS stage,
      sum(f.value::double precision) FILTER (WHERE starts_with(f.key, 'audio_seconds/')) AS audio,
      sum(f.value::double precision) FILTER (WHERE f.key ~ '^seconds/[^/]*/(encode|choose|label|generate)$')
        AS compute
    FROM jsonb_each_text(r.figures) f GROUP BY 1) b
) s ON true;

COMMENT ON COLUMN analytics.runs.asked_by IS
  'schedule, UI (Prefect''s server has no users), or the account of a command; null for runs from before';
COMMENT ON COLUMN analytics.runs.night IS 'The night that a shard works for; null for other runs';
COMMENT ON COLUMN analytics.runs.audio_seconds IS
  'Audio that was tokenized or made: clips that had tokens do not count';
COMMENT ON COLUMN analytics.runs.compute_seconds IS
  'Time in the models, without waiting, reading and decoding; its shards have their own';
COMMENT ON COLUMN analytics.runs.audio_by_stage IS 'audio_seconds by stage';
COMMENT ON COLUMN analytics.runs.compute_by_stage IS 'compute_seconds by stage';
COMMENT ON COLUMN analytics.runs.price_per_hour IS
  'WORDWAVE_PRICE_PER_HOUR where it began; null where that was not set';
COMMENT ON COLUMN analytics.runs.cost IS 'compute_seconds at price_per_hour';
"""

NIGHTS = r"""
CREATE OR REPLACE VIEW analytics.nights AS
SELECT r.id AS run, r.flow_run_id AS flow_run, r.kind, r.parameters ->> 'prefix' AS prefix, p.place, r.day,
  p.begins, p.begins + interval '1 day' AS ends, split_part(r.parameters ->> 'library', '@', 1) AS library,
  r.parameters ->> 'library' AS library_version, r.status, r.started_at, r.finished_at,
  extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds,
  s.answered, coalesce((r.summary ->> 'uncertain')::bigint, 0) AS uncertain,
  coalesce((r.summary ->> 'unknown')::bigint, 0) AS unknown, s.quarantined,
  (r.summary ->> 'mean_margin')::double precision AS mean_margin, r.summary -> 'agreement' AS agreement,
  r.summary -> 'labels' AS labels, r.summary -> 'quarantined' AS reasons, r.summary -> 'doubts' AS doubts,
  greatest(w.tokenized, w.labeled) AS clips_worked,
  greatest(w.tokenized, w.labeled)
    / nullif(extract(epoch FROM r.finished_at - r.started_at)::double precision, 0) AS clips_per_second,
  t.audio_seconds, t.compute_seconds, t.cost, r.asked_by
FROM runs r
CROSS JOIN LATERAL (
  SELECT substr(r.partition_key, length(r.kind) + 2) AS name,
    CASE WHEN r.day IS NOT NULL AND position('{day}' IN r.parameters ->> 'prefix') = 0 THEN
      substring(r.partition_key FROM ' (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)$') END AS midnight
) n
CROSS JOIN LATERAL (
  SELECT n.midnight::timestamptz AS begins,
    CASE WHEN n.midnight IS NULL THEN n.name ELSE left(n.name, -1 - length(n.midnight)) END AS place
) p
CROSS JOIN LATERAL (
  SELECT (SELECT coalesce(sum(value::bigint), 0)::bigint FROM jsonb_each_text(r.summary -> 'labels'))
    AS answered,
    (SELECT coalesce(sum(value::bigint), 0)::bigint FROM jsonb_each_text(r.summary -> 'quarantined'))
    AS quarantined
) s
CROSS JOIN LATERAL (
  SELECT coalesce((r.counts ->> 'tokenize.tokenized')::bigint, 0)
      + coalesce((r.counts ->> 'tokenize.same_bytes')::bigint, 0)
      + coalesce((r.counts ->> 'tokenize.quarantined')::bigint, 0) AS tokenized,
    coalesce((r.counts ->> 'label.labeled')::bigint, 0)
      + coalesce((r.counts ->> 'label.quarantined')::bigint, 0) AS labeled
) w
LEFT JOIN (
  SELECT coalesce(o.night, o.run) AS run, sum(o.audio_seconds) AS audio_seconds,
    sum(o.compute_seconds) AS compute_seconds, sum(o.cost) AS cost
  FROM analytics.runs o GROUP BY 1
) t ON t.run = r.id
WHERE r.kind IN ('nightly-labeling', 'label');

COMMENT ON COLUMN analytics.nights.clips_worked IS 'Clips that it tokenized, labeled or both';
COMMENT ON COLUMN analytics.nights.clips_per_second IS 'clips_worked over seconds';
COMMENT ON COLUMN analytics.nights.audio_seconds IS 'Audio that it and its shards tokenized';
COMMENT ON COLUMN analytics.nights.compute_seconds IS 'Time in the models, of it and its shards';
COMMENT ON COLUMN analytics.nights.cost IS
  'compute_seconds at the price of each machine, see runs; null without a price';
COMMENT ON COLUMN analytics.nights.asked_by IS 'schedule, UI or the account of a command, as in runs';
"""

LIBRARIES = """
CREATE VIEW analytics.libraries AS
SELECT d.name AS library, d.version, d.task, d.instruction, s.demonstrations, s.labels,
  d.id = (
    SELECT u.demonstration_set_id FROM library_uses u JOIN demonstration_sets o
      ON o.id = u.demonstration_set_id
    WHERE o.name = d.name ORDER BY u.id DESC LIMIT 1) AS is_in_use,
  EXISTS (SELECT FROM promotions p WHERE p.demonstration_set_id = d.id) AS is_promoted, d.created_at
FROM demonstration_sets d
CROSS JOIN LATERAL (
  SELECT count(*) AS demonstrations, count(DISTINCT r.label) AS labels
  FROM demonstrations r WHERE r.demonstration_set_id = d.id
) s;

COMMENT ON VIEW analytics.libraries IS 'The versions of each library';
COMMENT ON COLUMN analytics.libraries.task IS 'label, speech, sound or denoise';
COMMENT ON COLUMN analytics.libraries.instruction IS 'How its prompt begins; null for the usual beginning';
COMMENT ON COLUMN analytics.libraries.demonstrations IS 'Clips that it shows';
COMMENT ON COLUMN analytics.libraries.labels IS 'Different labels or texts; 0 for denoise';
COMMENT ON COLUMN analytics.libraries.is_in_use IS 'Whether the bare name means this version';
COMMENT ON COLUMN analytics.libraries.is_promoted IS 'Whether its answers are the current ones, see labels';
COMMENT ON COLUMN analytics.libraries.created_at IS 'When it was imported';
"""

ACCURACY = """
CREATE VIEW analytics.accuracy AS
SELECT n.run, n.day, n.place, n.library, n.library_version, n.started_at, 'canaries' AS source,
  n.canary_library AS truth, n.answers, n.correct, n.correct / n.answers AS accuracy,
  (n.correct / n.answers + 1.9208 / n.answers - w.half) / (1 + 3.8416 / n.answers) AS accuracy_low,
  (n.correct / n.answers + 1.9208 / n.answers + w.half) / (1 + 3.8416 / n.answers) AS accuracy_high
FROM (
  SELECT r.run, r.day, r.place, split_part(r.library, '@', 1) AS library, r.library AS library_version,
    r.started_at, r.parameters ->> 'canary_library' AS canary_library,
    (r.counts ->> 'canaries.asked')::double precision AS answers,
    coalesce((r.counts ->> 'canaries.right')::double precision, 0) AS correct
  FROM analytics.runs r
  WHERE r.counts ? 'canaries.asked'
) n
CROSS JOIN LATERAL (
  SELECT 1.96 * sqrt(n.correct / n.answers * (1 - n.correct / n.answers) / n.answers
    + 0.9604 / (n.answers * n.answers)) AS half
) w
WHERE n.answers > 0;

COMMENT ON VIEW analytics.accuracy IS
  'How often answers whose truth is known were right, one row per night and source of the truth';
COMMENT ON COLUMN analytics.accuracy.day IS 'The day of the night; null where it was for no certain day';
COMMENT ON COLUMN analytics.accuracy.source IS 'canaries: clips of known labels that a night asks first';
COMMENT ON COLUMN analytics.accuracy.truth IS 'The library version whose labels are the truth';
COMMENT ON COLUMN analytics.accuracy.answers IS 'Answers with a known truth, over all attempts of the night';
COMMENT ON COLUMN analytics.accuracy.correct IS 'Answers that were right';
COMMENT ON COLUMN analytics.accuracy.accuracy IS 'Their share';
COMMENT ON COLUMN analytics.accuracy.accuracy_low IS 'Lower end of its interval of 95 % (Wilson)';
COMMENT ON COLUMN analytics.accuracy.accuracy_high IS 'Upper end of its interval of 95 % (Wilson)';
"""

NEW = ("libraries", "accuracy")
CHANGED = ("clips", "labels", "least_sure", "runs", "nights")

SAVED = """
WITH RECURSIVE dependent (oid) AS (
  SELECT c.oid FROM pg_class c
  WHERE c.relnamespace = 'analytics'::regnamespace AND c.relname = ANY (CAST(:changed AS text[]))
  UNION
  SELECT w.ev_class FROM dependent v
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
    AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite w ON w.oid = d.objid
)
SELECT c.relname AS name, pg_get_viewdef(c.oid) AS definition, ARRAY(
  SELECT format('COMMENT ON %s IS %L',
    CASE d.objsubid WHEN 0 THEN format('VIEW analytics.%I', c.relname)
    ELSE format('COLUMN analytics.%I.%I', c.relname, a.attname) END, d.description)
  FROM pg_description d LEFT JOIN pg_attribute a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
  WHERE d.objoid = c.oid AND d.classoid = 'pg_class'::regclass) AS comments
FROM dependent v JOIN pg_class c ON c.oid = v.oid ORDER BY c.oid
"""


@dataclass(frozen=True)
class SavedView:
    """A view of the schema analytics, with its comments as statements."""

    name: str
    definition: str
    comments: list[str]


def upgrade() -> None:
    for statements in (DAY, PAGES, RUN_COLUMNS, CLIPS, LABELS, LEAST_SURE, RUNS, NIGHTS, LIBRARIES, ACCURACY):
        op.execute(sa.text(statements.replace(":", r"\:")))
    for view in NEW:
        op.execute(f"GRANT SELECT ON analytics.{view} TO wordwave_writer, wordwave_analyst")


def downgrade() -> None:
    """Make all views again: one cannot lose columns while others read it."""
    rows = op.get_bind().execute(sa.text(SAVED), {"changed": [*CHANGED, *NEW]})
    saved = [SavedView(*row) for row in rows]
    op.execute(f"DROP VIEW {', '.join(f'analytics.{view.name}' for view in saved)}")
    op.execute(
        "DROP TABLE explore_address; ALTER TABLE clips DROP COLUMN day; DROP FUNCTION day_of_clip;"
        "ALTER TABLE runs DROP COLUMN asked_by, DROP COLUMN price_per_hour"
    )
    before = _definitions_before()
    for view in saved:
        if view.name not in NEW:
            _make_again(
                view, before.get(view.name, f"CREATE VIEW analytics.{view.name} AS {view.definition}")
            )


def _definitions_before() -> dict[str, str]:
    kept = import_module("migrations.versions.20261130_kept_answers")
    least_sure = import_module("migrations.versions.20261130_least_sure")
    run_view = import_module("migrations.versions.20261129_run_view")
    explorer = import_module("migrations.versions.20261130_explorer")
    made = {
        "clips": kept.CLIPS,
        "labels": kept.LABELS,
        "least_sure": least_sure.LEAST_SURE,
        "runs": run_view.VIEW,
        "nights": explorer.NIGHTS,
    }
    return {view: statements.partition(";")[0] for view, statements in made.items()}


def _make_again(view: SavedView, definition: str) -> None:
    """Create a view with the comments on the columns that it has."""
    op.execute(sa.text(definition.replace(":", r"\:")))
    columns = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(view.name, "analytics")}
    for comment in view.comments:
        subject = comment.partition(" IS ")[0].removeprefix("COMMENT ON ")
        if subject.startswith("VIEW ") or subject.rpartition(".")[2] in columns:
            op.execute(sa.text(comment.replace(":", r"\:")))
    op.execute(f"GRANT SELECT ON analytics.{view.name} TO wordwave_writer, wordwave_analyst")
