-- What the rules look at (src/payment/rules), and what the gateway and the claim are told; the payments are held until the
-- end of the transaction.
-- $1 orders  $2 seconds after which no request to charge is on its way any more
-- The planner is not to see how many orders there are: it would plan this anew each time, which takes longer than to run it.
-- Nor is it to join what it takes for ten orders with a whole table: so each is looked for by itself.
SELECT p.order_id, p.state, p.attempts, p.last_error IS NOT NULL AND p.state = 'unknown' AS is_parked,
       -- Who pays elsewhere may do so without our asking.
       CASE WHEN s.payment = 'checkout' THEN greatest(o.expires_at, p.charged_at) ELSE p.charged_at END
           >= clock_timestamp() - make_interval(secs => $2) IS NOT TRUE AS no_charge_on_its_way,
       coalesce(p.paid_as, p.order_id) AS charged_as, p.amount IS NOT NULL AS has_money,
       o.state AS order_state, o.cancel_reason, o.expires_at <= clock_timestamp() AS hold_is_over,
       o.sale_id, o.buyer, o.idem_key, b.cost, b.currency, b.lines,
       d.drained_postgres IS NOT DISTINCT FROM postgres_identity() AS is_drained
FROM unnest((SELECT $1::uuid[])) AS wanted (id)
CROSS JOIN LATERAL (SELECT * FROM payments WHERE order_id = wanted.id FOR UPDATE) p
CROSS JOIN LATERAL (SELECT * FROM orders WHERE id = p.order_id OFFSET 0) o
JOIN sales s ON s.id = o.sale_id
JOIN partitions d ON d.partition = o.partition
CROSS JOIN LATERAL (
    SELECT sum(l.quantity * l.unit_price)::bigint AS cost,
           CASE WHEN count(DISTINCT i.currency) = 1 THEN min(i.currency) END AS currency,
           jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity) ORDER BY l.sku) AS lines
    FROM unnest(o.skus, o.quantities, o.unit_prices) AS l (sku, quantity, unit_price)
    CROSS JOIN LATERAL (SELECT currency FROM sale_items WHERE sale_id = o.sale_id AND sku = l.sku OFFSET 0) i
) b
