-- Confirms an order of which the log says that it was confirmed, where this database has lost that.
-- $1 id  $2 actor  $3 reason  $4 milliseconds of the entry
WITH confirmed AS (
    UPDATE orders SET state = 'confirmed' WHERE id = $1 AND state = 'pending' RETURNING id
)
INSERT INTO order_events (order_id, sequence, at, state, actor, reason)
SELECT id, 1 + coalesce((SELECT max(sequence) FROM order_events WHERE order_id = id), 0),
       to_timestamp($4::bigint / 1000.0::float8), 'confirmed', $2, $3
FROM confirmed
