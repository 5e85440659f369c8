-- Do two sets of models agree?
SELECT label, other_label, sum(clips) AS clips FROM analytics.agreement
WHERE codec_fingerprint <> other_codec_fingerprint GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
