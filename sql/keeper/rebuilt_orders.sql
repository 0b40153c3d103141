-- Every order that Redis must remember, a row for each of its lines, the lines of one order together. In the order of the
-- primary key, so that nothing is sorted, and read with COPY, which takes no parameters: they are put in as text.
-- $1 partition  $2 lowest id (of an order in a sale that is not retired)
SELECT o.id, o.sale_id, o.buyer, o.idem_key, o.fingerprint, o.cancel_reason IS NOT DISTINCT FROM 'duplicate',
       l.sku, l.quantity, l.refused IS TRUE
FROM orders o
CROSS JOIN LATERAL unnest(o.skus, o.quantities, o.refused) AS l (sku, quantity, refused)
WHERE o.partition = $1 AND o.id >= '$2'
ORDER BY o.id
