-- Of these payments, those that nobody has worked on yet, held until the end of the transaction.
-- $1 orders
SELECT order_id FROM payments
WHERE order_id = ANY ($1) AND state = 'due' AND attempts = 0
FOR UPDATE SKIP LOCKED
