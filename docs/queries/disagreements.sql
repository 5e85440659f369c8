-- Where do other labelers say something else?
-- library = sounds
SELECT uri, label, other.key AS labeler, other.value ->> 'label' AS other_label, margin
FROM analytics.labels, jsonb_each(by_labeler) AS other
WHERE library = :library AND other.value ->> 'label' <> label ORDER BY margin, uri, labeler LIMIT 50
