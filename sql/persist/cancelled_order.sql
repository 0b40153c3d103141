-- Writes an order that is cancelled before it was ever active, with its lines.
-- $1 id  $2 partition  $3 sale  $4 buyer  $5 key  $6 fingerprint  $7 reason  $8 SKUs  $9 quantities  $10 refused
WITH new_order AS (
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, cancel_reason)
    VALUES ($1, $3, $2, $4, $5, $6, 'cancelled', $7)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
INSERT INTO order_lines (order_id, sku, quantity, unit_price, refused)
SELECT o.id, l.sku, l.quantity, i.price, l.refused
FROM new_order o
CROSS JOIN unnest($8::text[], $9::integer[], $10::boolean[]) AS l (sku, quantity, refused)
JOIN sale_items i ON i.sale_id = $3 AND i.sku = l.sku
