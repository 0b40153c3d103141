-- Writes an order that is cancelled before it was ever active, if all its lines name items of the sale.
-- $1 id  $2 partition  $3 sale  $4 buyer  $5 key  $6 fingerprint  $7 reason  $8 SKUs  $9 quantities  $10 refused
INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, cancel_reason,
                    skus, quantities, unit_prices, refused)
SELECT $1, $3, $2, $4, $5, $6, 'cancelled', $7,
       array_agg(i.sku ORDER BY i.sku), array_agg(l.quantity ORDER BY i.sku), array_agg(i.price ORDER BY i.sku),
       CASE WHEN bool_or(l.refused) THEN array_agg(l.refused ORDER BY i.sku) END
FROM unnest($8::text[], $9::integer[], $10::boolean[]) AS l (sku, quantity, refused)
JOIN sale_items i ON i.sale_id = $3 AND i.sku = l.sku
HAVING count(*) = cardinality($8)
ON CONFLICT (id) DO NOTHING
