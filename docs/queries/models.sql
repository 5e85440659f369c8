-- Do two sets of models agree?
SELECT one.label, other.label AS other_label, count(*) AS clips
FROM analytics.answers AS one JOIN analytics.answers AS other USING (uri, library)
WHERE one.codec_fingerprint < other.codec_fingerprint GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
