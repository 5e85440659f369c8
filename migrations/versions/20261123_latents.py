"""Add pooled latents, and the nearest demonstration by them to the analysts' labels.

Older tokens have no latents until their clips are tokenized again, which the next run over them does.
"""

from alembic import op

revision = "20261123_latents"
down_revision = "20261122_analytics"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE pooled_latents (
  content_sha256 BYTEA NOT NULL,
  codec_id INTEGER NOT NULL,
  mean BYTEA NOT NULL,
  deviation BYTEA NOT NULL,
  run_id UUID NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
  CONSTRAINT pk_pooled_latents PRIMARY KEY (content_sha256, codec_id),
  CONSTRAINT ck_pooled_latents_lengths CHECK (
    octet_length(mean) > 0 AND octet_length(mean) % 2 = 0
    AND octet_length(deviation) = octet_length(mean)),
  CONSTRAINT fk_pooled_latents_content_sha256_codec_id_token_sequences
    FOREIGN KEY (content_sha256, codec_id) REFERENCES token_sequences (content_sha256, codec_id),
  CONSTRAINT fk_pooled_latents_run_id_runs FOREIGN KEY (run_id) REFERENCES runs (id)
);
CREATE INDEX ix_pooled_latents_run_id ON pooled_latents (run_id);
GRANT SELECT, INSERT ON pooled_latents TO wordwave_writer;
"""

LABELS = """
DROP VIEW analytics.labels;
CREATE VIEW analytics.labels AS
SELECT c.uri, a.task, a.label, (a.probabilities ->> a.label)::double precision AS probability, a.margin,
  CASE WHEN a.margin < a.min_margin THEN 'uncertain' ELSE 'labeled' END AS status,
  (a.baselines ->> 'chance')::double precision AS chance,
  a.baselines ->> 'majority' AS majority_label, a.baselines ->> 'nearest' AS nearest_label,{latent}
  a.probabilities, a.is_demonstration, d.name AS library, d.version, a.labeler, m.name AS llm,
  k.name AS codec, a.is_promoted, a.run_id AS run, a.created_at, c.missing_since, a.content_sha256
FROM (
  SELECT DISTINCT ON (p.content_sha256, p.task, l.name) p.*, q.task IS NOT NULL AS is_promoted
  FROM predictions p
  JOIN demonstration_sets l ON l.id = p.demonstration_set_id
  LEFT JOIN promotions q ON q.task = p.task AND q.demonstration_set_id = p.demonstration_set_id
    AND q.codec_id = p.codec_id AND q.llm_id IS NOT DISTINCT FROM p.llm_id
  WHERE p.retracted_by_run IS NULL
  ORDER BY p.content_sha256, p.task, l.name, q.task NULLS LAST, p.created_at DESC, p.id DESC
) a
JOIN analytics.clips c ON c.content_sha256 = a.content_sha256
JOIN demonstration_sets d ON d.id = a.demonstration_set_id
JOIN codecs k ON k.id = a.codec_id
LEFT JOIN llms m ON m.id = a.llm_id;

COMMENT ON VIEW analytics.labels IS
  'The current answer for each clip, task and library: by what is promoted there, else the latest standing';
COMMENT ON COLUMN analytics.labels.probability IS 'Of the label among the labels of the library';
COMMENT ON COLUMN analytics.labels.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.labels.status IS 'uncertain where the margin is under the asked bound';
COMMENT ON COLUMN analytics.labels.chance IS 'Probability of being right by guessing';
COMMENT ON COLUMN analytics.labels.majority_label IS 'What always saying the commonest label says';
COMMENT ON COLUMN analytics.labels.nearest_label IS 'What the nearest demonstration by codes says';
COMMENT ON COLUMN analytics.labels.probabilities IS 'Every label with its probability';
COMMENT ON COLUMN analytics.labels.is_demonstration IS 'The library has this audio: not for accuracies';
COMMENT ON COLUMN analytics.labels.version IS 'Version of the library';
COMMENT ON COLUMN analytics.labels.labeler IS 'The method that answered';
COMMENT ON COLUMN analytics.labels.llm IS 'The language model that was asked; null for a labeler without one';
COMMENT ON COLUMN analytics.labels.is_promoted IS 'By the promoted library version, codec and language model';
COMMENT ON COLUMN analytics.labels.run IS 'The run that wrote the answer';
COMMENT ON COLUMN analytics.labels.missing_since IS 'When the clip left its bucket; null while it is there';

GRANT SELECT ON analytics.labels TO wordwave_writer, wordwave_analyst;
"""

NEAREST_LATENT = "\n  a.baselines ->> 'nearest_latent' AS nearest_latent_label,"

COMMENT = """
COMMENT ON COLUMN analytics.labels.nearest_latent_label IS
  'What the nearest demonstration by pooled latent says; null where one has no latent';
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute(LABELS.format(latent=NEAREST_LATENT) + COMMENT)


def downgrade() -> None:
    op.execute(LABELS.format(latent=""))
    op.execute("DROP TABLE pooled_latents")
