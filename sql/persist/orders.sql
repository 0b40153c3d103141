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
-- In the plan on which a prepared statement settles every array has ten elements, and every object a hundred. So each line finds
-- its price by itself, by sale and SKU; OFFSET 0 keeps the planner from reading all items of the sale for each order instead.
-- $1 partition  $2 ids  $3 sales  $4 buyers  $5 keys  $6 fingerprints  $7 lines, as {"sku": units}
-- Answers 1 id  2 how many of its lines name an item of the sale  3 whether its payment is due: of each that is new
WITH incoming AS (
    SELECT t.id, t.sale_id, t.buyer, t.idem_key, t.fingerprint, l.skus, l.quantities, l.unit_prices
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::jsonb[])
        AS t (id, sale_id, buyer, idem_key, fingerprint, lines)
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(i.sku ORDER BY i.sku), '{}') AS skus,
               coalesce(array_agg(l.value::integer ORDER BY i.sku), '{}') AS quantities,
               coalesce(array_agg(i.price ORDER BY i.sku), '{}') AS unit_prices
        FROM jsonb_each_text(t.lines) l
        CROSS JOIN LATERAL (SELECT sku, price FROM sale_items WHERE sale_id = t.sale_id AND sku = l.key OFFSET 0) i
    ) l
), new_orders AS (
    -- A sale that is not here has no items either, and the lines tell.
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, expires_at,
                        skus, quantities, unit_prices)
    SELECT i.id, i.sale_id, $1, i.buyer, i.idem_key, i.fingerprint,
           CASE WHEN s.hold_s IS NULL THEN 'confirmed' ELSE 'pending' END,
           -- From orders.accepted_at, which is generated and not there yet.
           CASE WHEN s.hold_s IS NOT NULL THEN
               to_timestamp(('x' || encode(substring(uuid_send(i.id) for 6), 'hex'))::bit(48)::bigint / 1000.0::float8)
               + make_interval(secs => CASE WHEN starts_with(i.idem_key, 'doorbuster:paid-late:')
                                            THEN greatest(s.hold_s, 30) ELSE s.hold_s END) END,
           i.skus, i.quantities, i.unit_prices
    FROM incoming i LEFT JOIN sales s ON s.id = i.sale_id ORDER BY i.id
    ON CONFLICT DO NOTHING
    RETURNING id, sale_id, idem_key, state, expires_at, cardinality(skus) AS priced_lines
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
SELECT o.id, o.priced_lines, p.state = 'due' AS is_due
FROM new_orders o LEFT JOIN new_payments p ON p.order_id = o.id
