-- Which labels are there, and how sure are they?
-- library = sounds
SELECT label, sum(clips) AS clips, sum(margins) / sum(clips) AS mean_margin FROM analytics.label_counts
WHERE library = :library GROUP BY label ORDER BY clips DESC, label
