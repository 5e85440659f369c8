-- Which labels were there at a moment, such as yesterday at noon?
-- library = sounds
-- moment = yesterday 12:00
SELECT label, count(*) AS clips FROM analytics.labels_as_of(CAST(:moment AS timestamptz))
WHERE library = :library GROUP BY label ORDER BY clips DESC, label
