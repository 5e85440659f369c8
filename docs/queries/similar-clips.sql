-- Which clips are most similar to this one?
-- uri = s3://calls/2026-11-22/a.wav
SELECT * FROM analytics.similar_clips(:uri, 10)
