-- Confirms an order that this transaction holds: the state, the step, and the intent that tells the log of it, without
-- which a database that is restored from before would take the order for unpaid. Answers with the number of orders: 0
-- where it is not pending. An intent of this cause that is there already came out of the log.
-- $1 id  $2 cause of the log entry  $3 actor  $4 reason
WITH confirmed AS (
    UPDATE orders SET state = 'confirmed' WHERE id = $1 AND state = 'pending' RETURNING id, sale_id, partition
), event AS (
    INSERT INTO order_events (order_id, sequence, state, actor, reason)
    SELECT id, 1 + coalesce((SELECT max(sequence) FROM order_events WHERE order_id = id), 0), 'confirmed', $3, $4
    FROM confirmed
), intent AS (
    INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
    SELECT $2, 'confirmation', sale_id, partition, id, '{}', $4, $3 FROM confirmed
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM confirmed
