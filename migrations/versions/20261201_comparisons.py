"""Show how two sides answered the same clips: champion and challenger."""

from alembic import op

revision = "20261201_comparisons"
down_revision = "20261201_similar_clips"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW analytics.comparisons AS
SELECT r.id AS run, split_part(r.parameters ->> 'library', '@', 1) AS library,
  r.summary ->> 'champion' AS champion, r.summary ->> 'challenger' AS challenger,
  (r.summary ->> 'nights')::integer AS nights, (r.summary ->> 'clips')::bigint AS clips,
  (r.summary ->> 'compared')::bigint AS compared, (r.summary ->> 'changed')::bigint AS changed,
  1 - (r.summary ->> 'changed')::double precision / nullif((r.summary ->> 'compared')::bigint, 0)
    AS agreement,
  (r.summary ->> 'would_change')::bigint AS would_change,
  (r.summary ->> 'minutes')::double precision AS minutes,
  r.summary -> 'kept' AS kept, r.summary -> 'moves' AS moves, r.summary -> 'scores' AS scores,
  (r.summary -> 'together' ->> 'questions')::integer AS questions,
  (r.summary -> 'together' ->> 'new')::double precision
    - (r.summary -> 'together' ->> 'old')::double precision AS gain,
  (r.summary -> 'together' ->> 'low')::double precision AS gain_low,
  (r.summary -> 'together' ->> 'high')::double precision AS gain_high,
  r.summary ->> 'promoted_by' AS promoted_by, r.finished_at
FROM runs r
WHERE r.kind IN ('compare-library', 'learn-library') AND r.status = 'completed' AND r.summary ? 'challenger';

COMMENT ON VIEW analytics.comparisons IS
  'Champion and challenger on the same clips of the last nights: two versions, labelers or models, '
  'and what a library learned beside the version that was in use';
COMMENT ON COLUMN analytics.comparisons.run IS 'The run that compared them';
COMMENT ON COLUMN analytics.comparisons.champion IS 'What answered now, or the version that was named';
COMMENT ON COLUMN analytics.comparisons.challenger IS 'Library version, models and labeler of the other side';
COMMENT ON COLUMN analytics.comparisons.nights IS 'Nights whose clips were compared';
COMMENT ON COLUMN analytics.comparisons.clips IS 'Clips of these nights';
COMMENT ON COLUMN analytics.comparisons.compared IS 'Clips that both sides answered: of many, a fair sample';
COMMENT ON COLUMN analytics.comparisons.changed IS 'Compared clips that the challenger labels otherwise';
COMMENT ON COLUMN analytics.comparisons.agreement IS 'Share of compared clips that both sides call the same';
COMMENT ON COLUMN analytics.comparisons.would_change IS 'Labels that would change among all clips';
COMMENT ON COLUMN analytics.comparisons.minutes IS 'How long answering the nights again would take';
COMMENT ON COLUMN analytics.comparisons.kept IS 'Compared clips that both sides call the same, by label';
COMMENT ON COLUMN analytics.comparisons.moves IS
  'Label by label: before, after, clips, and examples, the most frequent first';
COMMENT ON COLUMN analytics.comparisons.scores IS 'Accuracy of both sides by kind of question';
COMMENT ON COLUMN analytics.comparisons.questions IS
  'Random reviews and canaries that neither version demonstrates, and what was learned, left out';
COMMENT ON COLUMN analytics.comparisons.gain IS 'Right answers of the challenger less those of the champion';
COMMENT ON COLUMN analytics.comparisons.gain_low IS 'Lower end of its interval of 95 %; above 0 it is better';
COMMENT ON COLUMN analytics.comparisons.gain_high IS 'Upper end of its interval of 95 %';
COMMENT ON COLUMN analytics.comparisons.promoted_by IS 'What puts the challenger into use';
GRANT SELECT ON analytics.comparisons TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.comparisons")
