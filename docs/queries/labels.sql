-- Which labels are there, and how sure are they?
-- library = sounds
SELECT label, count(*) AS clips, avg(margin) AS mean_margin FROM analytics.labels
WHERE library = :library AND missing_since IS NULL GROUP BY label ORDER BY clips DESC, label
