-- Payments for an operator: those that somebody has to look at again, or those in one state; those first that have stood
-- longest as they do.
-- $1 state, or null  $2 at most
SELECT order_id, state, attempts, changed_at, next_at, last_error
FROM payments
WHERE CASE WHEN $1::text IS NULL THEN next_at IS NOT NULL ELSE state = $1 END
ORDER BY changed_at
LIMIT $2
