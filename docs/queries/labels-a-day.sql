-- How many clips have each label on each day?
-- library = sounds
SELECT day, label, sum(clips) AS clips FROM analytics.label_counts
WHERE library = :library GROUP BY day, label ORDER BY day DESC, clips DESC, label
