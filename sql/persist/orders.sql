-- Writes orders with their lines; tells which orders are new.
--
-- Sorted by id, so that two workers with the same entries wait for each other instead of deadlocking.
-- ON CONFLICT without a target: an order that is known (same id) and a second order of one key are both left out
-- here; the caller tells them apart. Prices come from the sale's items, which never change. Where the sale asks for a
-- payment its orders wait for it, and hold their units so long; the payment is written with them. It is due at once: the
-- few seconds are for whoever hears of it from the payments stream. One that is made elsewhere is asked for when the hold
-- is over and nothing was heard; not that of units which late money has claimed again (src/payment/record.rs): its buyer has
-- paid, and is sent to no checkout. Such units are held for 30 s at least: it is not the buyer who is slow, and with a short
-- hold on a slow machine the same money would claim its units again and again.
-- In the plan on which a prepared statement settles every array has ten elements. So lines find their price by sale and SKU,
-- not by an SKU that a hundred sales have; and whether their order is new is a look into a hash (IS TRUE keeps it one), not a
-- join, which would be a loop over all orders for each line.
-- $1 partition  $2 ids  $3 sales  $4 buyers  $5 keys  $6 fingerprints
-- $7 order of each line  $8 its sale  $9 SKUs  $10 quantities
WITH incoming AS (
    SELECT * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
        AS t (id, sale_id, buyer, idem_key, fingerprint)
), new_orders AS (
    -- A sale that is not here has no items either, and the lines tell.
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, expires_at)
    SELECT i.id, i.sale_id, $1, i.buyer, i.idem_key, i.fingerprint,
           CASE WHEN s.hold_s IS NULL THEN 'confirmed' ELSE 'pending' END,
           -- From orders.accepted_at, which is generated and not there yet.
           CASE WHEN s.hold_s IS NOT NULL THEN
               to_timestamp(('x' || encode(substring(uuid_send(i.id) for 6), 'hex'))::bit(48)::bigint / 1000.0::float8)
               + make_interval(secs => CASE WHEN starts_with(i.idem_key, 'doorbuster:paid-late:')
                                            THEN greatest(s.hold_s, 30) ELSE s.hold_s END) END
    FROM incoming i LEFT JOIN sales s ON s.id = i.sale_id ORDER BY i.id
    ON CONFLICT DO NOTHING
    RETURNING id, sale_id, idem_key, state, expires_at
), new_lines AS (
    INSERT INTO order_lines (order_id, sku, quantity, unit_price)
    SELECT l.order_id, l.sku, l.quantity, i.price
    FROM unnest($7::uuid[], $8::text[], $9::text[], $10::integer[]) AS l (order_id, sale_id, sku, quantity)
    JOIN sale_items i ON i.sale_id = l.sale_id AND i.sku = l.sku
    WHERE (l.order_id IN (SELECT id FROM new_orders)) IS TRUE
    ORDER BY l.order_id, l.sku
    RETURNING order_id
), new_payments AS (
    INSERT INTO payments (order_id, state, next_at)
    SELECT o.id, CASE WHEN elsewhere THEN 'awaited' ELSE 'due' END,
           CASE WHEN elsewhere THEN o.expires_at ELSE clock_timestamp() + interval '3 seconds' END
    FROM new_orders o JOIN sales s ON s.id = o.sale_id,
         LATERAL (SELECT s.payment <> 'gateway' AND NOT starts_with(o.idem_key, 'doorbuster:paid-late:')) AS p (elsewhere)
    WHERE o.state = 'pending'
    ON CONFLICT (order_id) DO NOTHING
    RETURNING order_id, state
)
SELECT o.id, (SELECT count(*) FROM new_lines) AS lines_written, p.state = 'due' AS is_due
FROM new_orders o LEFT JOIN new_payments p ON p.order_id = o.id
