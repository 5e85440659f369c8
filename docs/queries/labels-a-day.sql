-- How many clips have each label on each day?
-- library = sounds
SELECT day, label, count(*) AS clips FROM analytics.labels
WHERE library = :library AND missing_since IS NULL
GROUP BY day, label ORDER BY day DESC, clips DESC, label
