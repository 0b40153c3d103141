-- A page of a buyer's orders, newest first (ids are times). Duplicates of one key are not listed.
-- $1 buyer  $2 before this id, or null  $3 at most
SELECT o.id, o.sale_id, o.state, o.cancel_reason,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity, 'unit_price', l.unit_price)
                                  ORDER BY l.sku), '[]')
        FROM unnest(o.skus, o.quantities, o.unit_prices) AS l (sku, quantity, unit_price)) AS items,
       CASE WHEN o.state = 'pending' THEN o.expires_at END, p.state, p.moved_to,
       o.expires_at IS NOT NULL AS was_pending
FROM orders o LEFT JOIN payments p ON p.order_id = o.id
WHERE o.buyer = $1 AND o.cancel_reason IS DISTINCT FROM 'duplicate' AND ($2::uuid IS NULL OR o.id < $2)
ORDER BY o.id DESC
LIMIT $3
