-- Which labels changed since last night, and why?
-- library = sounds
SELECT uri, label_before, label, reason, changed_at, link FROM analytics.changes
WHERE library = :library AND changed_at > now() - interval '1 day' ORDER BY changed_at DESC, uri
