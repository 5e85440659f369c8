-- Which twenty clips are the most doubtful, and where can I hear them?
-- library = sounds
SELECT uri, label, margin, link FROM analytics.least_sure
WHERE library = :library ORDER BY margin, answer LIMIT 20
