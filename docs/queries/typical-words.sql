-- Which words are typical of a label: in many of its clips, and in few others?
-- library = sounds
-- label = dog bark
SELECT word, count(DISTINCT uri) FILTER (WHERE label = :label) AS clips, count(DISTINCT uri) AS of_clips
FROM analytics.words JOIN analytics.labels USING (uri) WHERE layer = 0 AND library = :library
GROUP BY word HAVING bool_or(label = :label)
ORDER BY (count(DISTINCT uri) FILTER (WHERE label = :label)) ^ 2.0 / count(DISTINCT uri) DESC, word LIMIT 20
