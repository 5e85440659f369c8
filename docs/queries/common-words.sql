-- Which words does the codec hear most, as counted by wordwave count-words?
SELECT word, contents, occurrences FROM analytics.word_counts
ORDER BY occurrences DESC, word LIMIT 20
