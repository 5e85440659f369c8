-- Which words does the codec hear most?
SELECT word, count(*) AS times FROM analytics.words WHERE layer = 0
GROUP BY word ORDER BY times DESC, word LIMIT 20
