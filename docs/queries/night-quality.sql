-- How well did answers agree and how right were they, night by night?
SELECT n.day, n.place, n.library, n.agreement -> 'nearest' AS agreement, a.source, a.accuracy,
  a.accuracy_low, a.accuracy_high FROM analytics.nights n LEFT JOIN analytics.accuracy a USING (run)
WHERE n.status = 'completed' ORDER BY n.day DESC, n.place
