-- Payments for an operator; those first that have stood longest as they do.
-- $1 states  $2 also those that nobody has to look at again  $3 at most
SELECT order_id, state, attempts, changed_at, next_at, last_error
FROM payments
WHERE state = ANY ($1) AND ($2 OR next_at IS NOT NULL)
ORDER BY changed_at
LIMIT $3
