-- What was set aside, and why?
SELECT reason, count(*) AS clips, min(first_seen) AS since FROM analytics.quarantine
WHERE missing_since IS NULL GROUP BY reason ORDER BY clips DESC, reason
