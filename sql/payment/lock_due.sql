-- Payments that are due, those first that have waited longest, held until the end of the transaction. What somebody else
-- holds is left to him.
-- $1 at most  $2 states: without a gateway only those that need no word of it
SELECT order_id FROM payments
WHERE next_at <= clock_timestamp() AND state = ANY ($2)
ORDER BY next_at
LIMIT $1
FOR UPDATE SKIP LOCKED
