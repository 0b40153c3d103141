-- One order of one buyer, with its lines.
-- $1 id  $2 buyer
SELECT o.id, o.sale_id, o.state, o.cancel_reason,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity, 'unit_price', l.unit_price)
                                  ORDER BY l.sku), '[]')
        FROM unnest(o.skus, o.quantities, o.unit_prices) AS l (sku, quantity, unit_price)) AS items,
       CASE WHEN o.state = 'pending' THEN o.expires_at END, p.state, p.moved_to,
       o.expires_at IS NOT NULL AS was_pending
FROM orders o LEFT JOIN payments p ON p.order_id = o.id
WHERE o.id = $1 AND o.buyer = $2
