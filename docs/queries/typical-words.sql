-- Which words are typical of a label: in many of its clips, and in few others?
-- library = sounds
-- label = dog bark
SELECT words AS word, contents, of_contents, elsewhere, of_elsewhere FROM analytics.label_motifs
WHERE library = :library AND label = :label AND length = 1
ORDER BY 1.0 * contents / of_contents - 1.0 * elsewhere / greatest(of_elsewhere, 1) DESC, words LIMIT 20
