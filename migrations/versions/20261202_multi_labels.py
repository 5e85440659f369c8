"""Gather the answers by the labels of multi-label libraries: a row a clip, with all of its labels."""

from alembic import op

revision = "20261202_multi_labels"
down_revision = "20261202_settled_codes"
branch_labels = None
depends_on = None

VIEW = """
CREATE VIEW analytics.multi_labels AS
WITH used AS (
  SELECT DISTINCT ON (d.name) d.id, d.name, d.version, d.task
  FROM library_uses u JOIN demonstration_sets d ON d.id = u.demonstration_set_id
  ORDER BY d.name, u.id DESC),
asked AS (
  SELECT DISTINCT used.name, used.version, given.label
  FROM used JOIN demonstrations s ON s.demonstration_set_id = used.id
  -- the label of any other library is no JSON
  CROSS JOIN LATERAL jsonb_array_elements_text(
    CASE WHEN used.task = 'labels' THEN s.label::jsonb ELSE '[]' END) AS given(label)
  WHERE used.task = 'labels')
SELECT l.uri, l.day,
  coalesce(array_agg(k.label ORDER BY k.label COLLATE "C")
    FILTER (WHERE l.label = k.label AND l.status <> 'unknown'), '{}') AS labels,
  jsonb_object_agg(k.label, (l.probabilities ->> k.label)::double precision) AS probabilities,
  coalesce(array_agg(k.label ORDER BY k.label COLLATE "C")
    FILTER (WHERE l.status = 'uncertain'), '{}') AS uncertain,
  coalesce(array_agg(k.label ORDER BY k.label COLLATE "C")
    FILTER (WHERE l.status = 'unknown'), '{}') AS unknown,
  bool_or(l.is_demonstration) AS is_demonstration, k.name AS library, k.version,
  jsonb_object_agg(k.label, l.labeler) AS labelers, max(l.codec) AS codec,
  max(l.created_at) AS created_at, l.missing_since, l.content_sha256, l.link
FROM asked k JOIN analytics.labels l ON l.library = k.name || '/' || k.label AND l.task = 'label'
GROUP BY l.uri, l.day, k.name, k.version, l.missing_since, l.content_sha256, l.link;

COMMENT ON VIEW analytics.multi_labels IS
  'The current labels of a clip by a multi-label library, whose answers label by label are in labels: the '
  'library of a label is NAME/LABEL';
COMMENT ON COLUMN analytics.multi_labels.day IS 'The day of the clip, as in clips';
COMMENT ON COLUMN analytics.multi_labels.labels IS
  'All labels of the clip, empty if it has none of them: uncertain ones too, but no unknown ones';
COMMENT ON COLUMN analytics.multi_labels.probabilities IS
  'By label, how probable it is that the clip has it; a label that was not asked yet is missing';
COMMENT ON COLUMN analytics.multi_labels.uncertain IS 'The labels whose yes or no is uncertain, as in labels';
COMMENT ON COLUMN analytics.multi_labels.unknown IS
  'The labels of which the clip is too far from every demonstration, as in labels';
COMMENT ON COLUMN analytics.multi_labels.is_demonstration IS
  'The library has this audio: not for accuracies';
COMMENT ON COLUMN analytics.multi_labels.version IS
  'Version of the library that is in use: its labels are shown';
COMMENT ON COLUMN analytics.multi_labels.labelers IS 'By label, the method that answered';
COMMENT ON COLUMN analytics.multi_labels.codec IS 'The codec of the answers';
COMMENT ON COLUMN analytics.multi_labels.created_at IS 'When the newest of the answers was written';
COMMENT ON COLUMN analytics.multi_labels.missing_since IS
  'When the clip left its bucket; null while it is there';
COMMENT ON COLUMN analytics.multi_labels.link IS 'The page of the clip, as in clips';
GRANT SELECT ON analytics.multi_labels TO wordwave_writer, wordwave_analyst;
"""


def upgrade() -> None:
    op.execute(VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW analytics.multi_labels")
