-- Something that happened to the payment of an order that this transaction holds, and moved the order nowhere.
-- $1 order  $2 actor  $3 reason
INSERT INTO order_events (order_id, sequence, state, actor, reason)
SELECT id, 1 + coalesce((SELECT max(sequence) FROM order_events WHERE order_id = id), 0), state, $2, $3
FROM orders WHERE id = $1
