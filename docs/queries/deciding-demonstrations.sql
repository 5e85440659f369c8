-- Which demonstrations decide most: to which are most clips of a day (1,000 at most) nearest by their codes?
-- library = sounds
-- day = 2026-11-22
SELECT label, demonstration_uri AS uri, count(*) AS clips
FROM analytics.nearest_demonstrations(:library, CAST(:day AS date))
GROUP BY label, demonstration_uri ORDER BY clips DESC, demonstration_uri
