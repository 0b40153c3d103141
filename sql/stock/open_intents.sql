-- Changes of stock that have not come back through the log yet, oldest first; for a return, its order as well.
-- $1 partition  $2 at most  $3 sequences of those that are on their way already
SELECT i.cause, i.kind, i.sale_id, i.lines, i.reason, o.id, o.buyer, o.idem_key, o.fingerprint, i.actor, i.sequence
FROM stock_intents i
JOIN sale_publications p ON p.sale_id = i.sale_id AND p.partition = i.partition AND p.version > 0
LEFT JOIN orders o ON o.id = i.order_id
WHERE i.partition = $1 AND i.applied_at IS NULL
  -- NOT IN is a hashed subplan; of NOT EXISTS the planner, which guesses few, makes a loop over thousands.
  AND i.sequence NOT IN (SELECT unnest($3::bigint[]))
ORDER BY i.sequence
LIMIT $2
