-- Which labeler answers, and how good were the others?
SELECT library, version, labeler, labeler = chosen AS answers, accuracy, accuracy_low, accuracy_high, lead
FROM analytics.labelers WHERE is_current ORDER BY library, version, lead_bound DESC
