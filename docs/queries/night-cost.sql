-- How much audio was new, and what did the models cost, night by night?
SELECT day, place, count(*) AS runs, sum(audio_seconds) AS audio_seconds,
  sum(compute_seconds) AS compute_seconds, sum(cost) AS cost
FROM analytics.nights GROUP BY day, place ORDER BY day DESC, place
