-- Which clips are like no demonstration?
SELECT uri, library, label, distance, link FROM analytics.labels
WHERE status = 'unknown' ORDER BY distance DESC, uri LIMIT 50
