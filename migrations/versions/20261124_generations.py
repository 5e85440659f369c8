"""Add a view of all answers that are not retracted, to compare library versions, codecs and LLMs in SQL."""

from alembic import op

revision = "20261124_generations"
down_revision = "20261123_latents"
branch_labels = None
depends_on = None

ANSWERS = """
CREATE VIEW analytics.answers AS
SELECT c.uri, p.task, d.name AS library, d.version, k.name AS codec, k.fingerprint AS codec_fingerprint,
  m.name AS llm, m.fingerprint AS llm_fingerprint, p.labeler, p.label,
  (p.probabilities ->> p.label)::double precision AS probability, p.margin, p.is_demonstration,
  (q.codec_id = p.codec_id AND q.demonstration_set_id = p.demonstration_set_id
    AND q.llm_id IS NOT DISTINCT FROM p.llm_id) IS TRUE AS is_promoted,
  p.run_id AS run, p.created_at, c.missing_since, p.content_sha256
FROM predictions p
JOIN analytics.clips c ON c.content_sha256 = p.content_sha256
JOIN demonstration_sets d ON d.id = p.demonstration_set_id
JOIN codecs k ON k.id = p.codec_id
LEFT JOIN llms m ON m.id = p.llm_id
LEFT JOIN promotions q ON q.task = p.task AND q.library = d.name
WHERE p.retracted_by_run IS NULL;

COMMENT ON VIEW analytics.answers IS
  'All standing answers, of every library version, codec and language model; labels has the current ones';
COMMENT ON COLUMN analytics.answers.codec_fingerprint IS 'Tells codecs of one name apart';
COMMENT ON COLUMN analytics.answers.probability IS 'Of the label among the labels of the library';
COMMENT ON COLUMN analytics.answers.margin IS 'Probability of the first label minus that of the second';
COMMENT ON COLUMN analytics.answers.is_promoted IS 'By the promoted version, codec and language model';
COMMENT ON COLUMN analytics.answers.run IS 'The run that wrote the answer';
GRANT SELECT ON analytics.answers TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute(ANSWERS)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.answers")
