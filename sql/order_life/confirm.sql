-- Confirms an order that this transaction holds. Answers with the number of orders: 0 where it is not pending.
-- $1 id  $2 actor  $3 reason
WITH confirmed AS (
    UPDATE orders SET state = 'confirmed' WHERE id = $1 AND state = 'pending' RETURNING id
), event AS (
    INSERT INTO order_events (order_id, sequence, state, actor, reason)
    SELECT id, 1 + coalesce((SELECT max(sequence) FROM order_events WHERE order_id = id), 0), 'confirmed', $2, $3
    FROM confirmed
)
SELECT count(*) FROM confirmed
