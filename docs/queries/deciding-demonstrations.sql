-- Which demonstrations decide most: to which are most clips of a day nearest by their codes?
-- library = sounds
-- day = 2026-11-22
SELECT d.label, d.uri, count(*) AS clips FROM analytics.labels l JOIN analytics.sequences m
  USING (content_sha256), LATERAL (SELECT s.* FROM analytics.demonstrations s JOIN analytics.sequences t
  USING (content_sha256) WHERE (s.library, s.version, t.codec) = (l.library, l.version, m.codec)
  ORDER BY analytics.code_overlap(m.semantic, t.semantic) DESC, s.ordinal LIMIT 1) d
WHERE l.library = :library AND l.day = CAST(:day AS date) GROUP BY d.label, d.uri ORDER BY clips DESC, d.uri
