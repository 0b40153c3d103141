-- Payments that are due, those first that have waited longest, held until the end of the transaction. What somebody else
-- holds is left to him.
-- $1 at most  $2 whether the gateway can be asked: without, only what needs no word of it
SELECT order_id FROM payments
WHERE next_at <= clock_timestamp() AND ($2 OR state IN ('paid', 'late'))
ORDER BY next_at
LIMIT $1
FOR UPDATE SKIP LOCKED
