-- Of these payments, those that nobody has worked on since the order is stored, held until the end of the transaction.
-- $1 orders
SELECT order_id FROM payments
WHERE order_id = ANY ($1) AND state IN ('due', 'paid') AND attempts = 0
FOR UPDATE SKIP LOCKED
