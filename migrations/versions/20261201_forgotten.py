"""Forgetting: tombstones of keyed hashes, and the functions that delete what a tombstone covers.

The writer still deletes from no table. It calls functions that delete nothing without as many tombstones as
contents and clips go, which alone stay behind. A constant default rewrites no row of watches.
"""

from alembic import op

revision = "20261201_forgotten"
down_revision = "20261201_random_share"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE tombstones (
  keyed_hash BYTEA NOT NULL,
  kind TEXT NOT NULL,
  key_check BYTEA NOT NULL,
  forgotten_by TEXT NOT NULL,
  begun_at TIMESTAMPTZ DEFAULT now() NOT NULL,
  completed_at TIMESTAMPTZ,
  counts JSONB DEFAULT '{}'::jsonb NOT NULL,
  CONSTRAINT pk_tombstones PRIMARY KEY (keyed_hash),
  CONSTRAINT ck_tombstones_keyed_hash_length CHECK (octet_length(keyed_hash) = 32),
  CONSTRAINT ck_tombstones_key_check_length CHECK (octet_length(key_check) = 32),
  CONSTRAINT ck_tombstones_kind CHECK (kind IN ('content', 'uri', 'version'))
);
GRANT SELECT, INSERT ON tombstones TO wordwave_writer;

-- an export that lost rows is no longer found by them
GRANT UPDATE (selection_key, num_rows) ON exports TO wordwave_writer;

-- each deleted row is looked for in the tables that refer to it
CREATE INDEX ix_quarantine_clip_id ON quarantine (clip_id);
CREATE INDEX ix_review_queue_prediction_id ON review_queue (prediction_id);
CREATE INDEX ix_demonstrations_content_sha256 ON demonstrations (content_sha256);
CREATE INDEX ix_demonstrations_target_content_sha256 ON demonstrations (target_content_sha256);
"""

WATCHES = """
ALTER TABLE watches ADD COLUMN keep_days INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE watches ADD CONSTRAINT ck_watches_keep_days CHECK (keep_days BETWEEN 0 AND 36500);
"""

FORGET = """
CREATE FUNCTION require_tombstones(graves bytea[], of_kind text, number integer) RETURNS void
LANGUAGE plpgsql STRICT SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF number > (SELECT count(*) FROM tombstones WHERE kind = of_kind AND keyed_hash = ANY (graves)) THEN
    RAISE EXCEPTION 'nothing is forgotten without a tombstone' USING ERRCODE = 'check_violation';
  END IF;
END $$;

CREATE FUNCTION forget_contents(
  digests bytea[], clip_ids bigint[], graves bytea[], library_versions integer[], new_hashes bytea[])
RETURNS jsonb
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  step text[];
  deleted bigint;
  counts jsonb := '{}';
BEGIN
  PERFORM require_tombstones(graves, 'content', cardinality(digests));
  PERFORM require_tombstones(graves, 'version', cardinality(clip_ids));
  IF EXISTS (
    SELECT FROM unnest(library_versions) AS v (id) WHERE NOT EXISTS (
      SELECT FROM demonstrations d WHERE d.demonstration_set_id = v.id
        AND (d.content_sha256 = ANY (digests) OR d.target_content_sha256 = ANY (digests)))) THEN
    RAISE EXCEPTION 'a library version that shows nothing of what is forgotten stays as it is'
      USING ERRCODE = 'check_violation';
  END IF;
  UPDATE tombstones t SET completed_at = now(), counts = coalesce(n.counts, t.counts)
  FROM unnest(graves, digests) AS g (keyed_hash, digest)
  LEFT JOIN (
    SELECT x.digest, jsonb_object_agg(x.what, x.number) AS counts FROM (
      SELECT content_sha256 AS digest, 'clips' AS what, count(*) AS number FROM clips
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'token_sequences', count(*) FROM token_sequences
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'embeddings', count(*) FROM embeddings
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'predictions', count(*) FROM predictions
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'event_sets', count(*) FROM event_sets
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'generated_audio', count(*) FROM generated_audio
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'review_queue', count(*) FROM review_queue
        WHERE content_sha256 = ANY (digests) GROUP BY 1
      UNION ALL SELECT content_sha256, 'demonstrations', count(*) FROM demonstrations
        WHERE content_sha256 = ANY (digests) GROUP BY 1) x
    GROUP BY x.digest) n ON n.digest = g.digest
  WHERE t.keyed_hash = g.keyed_hash AND t.completed_at IS NULL;

  FOREACH step SLICE 1 IN ARRAY ARRAY[
    ['label_motifs', 'label_motifs m USING (
        SELECT DISTINCT library, task FROM current_answers WHERE content_sha256 = ANY ($1)) l
      WHERE m.library = l.library AND m.task = l.task'],
    ['review_decisions', 'review_decisions d USING review_queue q
      WHERE d.review_id = q.id AND q.content_sha256 = ANY ($1)'],
    ['review_queue', 'review_queue WHERE content_sha256 = ANY ($1)'],
    ['events', 'events e USING event_sets s WHERE e.event_set_id = s.id AND s.content_sha256 = ANY ($1)'],
    ['event_sets', 'event_sets WHERE content_sha256 = ANY ($1)'],
    ['predictions', 'predictions WHERE content_sha256 = ANY ($1)'],
    ['past_answers', 'past_answers WHERE content_sha256 = ANY ($1)'],
    ['generated_audio', 'generated_audio WHERE content_sha256 = ANY ($1)
      OR (method = ''in-context'' AND demonstration_set_id = ANY ($3))'],
    ['denoising_measures', 'denoising_measures m WHERE content_sha256 = ANY ($1) OR EXISTS (
        SELECT FROM demonstrations d WHERE d.demonstration_set_id = m.demonstration_set_id
          AND d.content_sha256 = m.content_sha256 AND d.target_content_sha256 = ANY ($1))'],
    ['demonstrations', 'demonstrations
      WHERE content_sha256 = ANY ($1) OR target_content_sha256 = ANY ($1)'],
    ['window_embeddings', 'window_embeddings WHERE content_sha256 = ANY ($1)'],
    ['sound_tags', 'sound_tags WHERE content_sha256 = ANY ($1)'],
    ['embeddings', 'embeddings WHERE content_sha256 = ANY ($1)'],
    ['near_copies', 'near_copies WHERE content_sha256 = ANY ($1) OR other_sha256 = ANY ($1)'],
    ['pooled_latents', 'pooled_latents WHERE content_sha256 = ANY ($1)'],
    ['token_sequences', 'token_sequences WHERE content_sha256 = ANY ($1)'],
    ['code_counts', 'code_counts WHERE contents <= 0'],
    ['quarantine', 'quarantine WHERE clip_id = ANY ($2)'],
    ['clips', 'clips WHERE id = ANY ($2)'],
    ['contents', 'contents WHERE sha256 = ANY ($1)']]
  LOOP
    EXECUTE 'DELETE FROM ' || step[2] USING digests, clip_ids, library_versions;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    counts := counts || jsonb_build_object(step[1], deleted);
  END LOOP;

  -- the hash of what a version showed would tell whoever knows the rest
  UPDATE demonstration_sets s SET content_hash = n.new_hash
  FROM unnest(library_versions, new_hashes) AS n (id, new_hash) WHERE s.id = n.id;
  RETURN counts;
END $$;

CREATE FUNCTION drop_unread_clips(clip_ids bigint[], graves bytea[]) RETURNS void
LANGUAGE plpgsql STRICT SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM require_tombstones(graves, 'version', cardinality(clip_ids));
  DELETE FROM quarantine q USING clips c
  WHERE c.id = q.clip_id AND c.id = ANY (clip_ids) AND c.content_sha256 IS NULL;
  DELETE FROM clips WHERE id = ANY (clip_ids) AND content_sha256 IS NULL;
END $$;
"""

GUARD = "require_tombstones(bytea[], text, integer)"
SIGNATURES = (
    "forget_contents(bytea[], bigint[], bytea[], integer[], bytea[])",
    "drop_unread_clips(bigint[], bytea[])",
)

DROP = """
ALTER TABLE watches DROP COLUMN keep_days;
DROP INDEX ix_demonstrations_target_content_sha256, ix_demonstrations_content_sha256,
  ix_review_queue_prediction_id, ix_quarantine_clip_id;
REVOKE UPDATE (selection_key, num_rows) ON exports FROM wordwave_writer;
DROP TABLE tombstones;
"""


def upgrade() -> None:
    for statements in (TABLE, WATCHES, FORGET):
        op.execute(statements)
    for signature in SIGNATURES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO wordwave_writer")
    op.execute(f"REVOKE EXECUTE ON FUNCTION {GUARD} FROM PUBLIC")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    op.execute(f"DROP FUNCTION {GUARD}")
    op.execute(DROP)
