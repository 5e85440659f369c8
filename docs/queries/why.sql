-- Why does a clip have its label?
-- uri = s3://calls/2026-11-22/a.wav
-- library = sounds
SELECT part, fact, value FROM analytics.why(:uri, :library) ORDER BY step
