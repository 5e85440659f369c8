-- Which run, library and prompt made the answer about a clip, and who asked?
-- uri = s3://calls/2026-11-22/a.wav
SELECT l.label, l.library, l.version, l.prompt_hash, l.labeler, l.llm, r.run, r.flow_run, r.asked_by,
  r.parameters, r.code_version FROM analytics.labels l JOIN analytics.runs r USING (run)
WHERE l.uri = :uri ORDER BY l.library
