-- Cancels an order of which the log says that its units went back, where this database has lost that. Money that was
-- taken is to go back, as it was when the order was cancelled; whoever pays it back asks the gateway whether it did.
-- One that was found by persisting was never active, so it held nothing that could expire.
-- $1 id  $2 reason  $3 milliseconds of the entry  $4 whether persisting found it
WITH active AS (
    SELECT id, state FROM orders WHERE id = $1 AND state <> 'cancelled' FOR UPDATE
), cancelled AS (
    UPDATE orders o
    SET state = 'cancelled', cancel_reason = $2,
        expires_at = CASE WHEN NOT $4 THEN o.expires_at END,
        refund_due_at = CASE WHEN NOT $4 AND a.state = 'confirmed' AND o.expires_at IS NOT NULL THEN now() END
    FROM active a WHERE o.id = a.id
    RETURNING o.id, o.refund_due_at
), refunds AS (
    INSERT INTO payments AS p (order_id, state, next_at)
    SELECT id, 'refund_due', clock_timestamp() FROM cancelled WHERE refund_due_at IS NOT NULL
    ON CONFLICT (order_id) DO UPDATE
    SET state = 'refund_due', next_at = clock_timestamp(), attempts = 0, changed_at = clock_timestamp()
    WHERE p.state <> 'refunded'
)
INSERT INTO order_events (order_id, sequence, at, state, actor, reason)
SELECT id, 1 + coalesce((SELECT max(sequence) FROM order_events WHERE order_id = id), 0),
       to_timestamp($3::bigint / 1000.0::float8), 'cancelled', 'log', $2
FROM cancelled
