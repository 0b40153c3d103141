-- Cancels orders that this transaction holds: the state, the units that count as sold, the step, and the intent that
-- brings the units back to Redis, all or nothing. Answers with the number of orders: less than were given where one is
-- no longer in the state that the rules saw.
--
-- The stock's rows are locked in one order, as by whoever adjusts an allotment in all partitions: unsorted ones deadlock. The
-- gate has none, so this transaction holds those of its partitions (src/postgres/locks.rs).
-- Money that is to go back is due in the same step.
-- A line that the gate has refused holds no unit. An intent of this cause that is there already came out of the log, and
-- has brought the units back.
-- $1 ids  $2 causes of their returns  $3 their states  $4 whether their money goes back  $5 reason  $6 actor
-- $7 reason in words
WITH step AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[]) AS t (id, cause, state, refund)
), cancelled AS (
    UPDATE orders o
    SET state = 'cancelled', cancel_reason = $5, refund_due_at = CASE WHEN s.refund THEN clock_timestamp() END
    FROM step s WHERE o.id = s.id AND o.state = s.state
    RETURNING o.id, o.sale_id, o.partition, o.skus, o.quantities, o.refused, s.cause, s.refund
), refunds AS (
    INSERT INTO payments AS p (order_id, state, next_at)
    SELECT id, 'refund_due', clock_timestamp() FROM cancelled WHERE refund
    ON CONFLICT (order_id) DO UPDATE
    SET state = 'refund_due', next_at = clock_timestamp(), attempts = 0, changed_at = clock_timestamp()
    WHERE p.state <> 'refunded'
), lines AS (
    SELECT c.id, c.sale_id, c.partition, l.sku, l.quantity
    FROM cancelled c CROSS JOIN LATERAL unnest(c.skus, c.quantities, c.refused) AS l (sku, quantity, refused)
    WHERE l.refused IS NOT TRUE
), units AS (
    SELECT partition, sale_id, sku, sum(quantity) AS units FROM lines GROUP BY partition, sale_id, sku
), locked AS (
    SELECT k.partition, k.sale_id, k.sku, u.units
    FROM sale_stock k JOIN units u ON u.partition = k.partition AND u.sale_id = k.sale_id AND u.sku = k.sku
    ORDER BY k.partition, k.sale_id, k.sku
    FOR UPDATE OF k
), unsold AS (
    UPDATE sale_stock k SET sold = k.sold - l.units
    FROM locked l WHERE k.partition = l.partition AND k.sale_id = l.sale_id AND k.sku = l.sku
), events AS (
    INSERT INTO order_events (order_id, sequence, state, actor, reason)
    SELECT c.id, 1 + coalesce((SELECT max(e.sequence) FROM order_events e WHERE e.order_id = c.id), 0), 'cancelled', $6, $7
    FROM cancelled c
), intents AS (
    INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
    SELECT c.cause, 'return', c.sale_id, c.partition, c.id, coalesce(l.lines, '{}'), $5, $6
    FROM cancelled c
    LEFT JOIN (SELECT id, jsonb_object_agg(sku, quantity) AS lines FROM lines GROUP BY id) l ON l.id = c.id
    ORDER BY c.id
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM cancelled
