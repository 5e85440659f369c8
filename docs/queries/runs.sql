-- What did the last runs do?
SELECT started_at, kind, place, status, asked_by, seconds, counts FROM analytics.runs
ORDER BY started_at DESC LIMIT 14
