-- Every order that Redis must remember, a row for each of its lines, the lines of one order together. In the order of
-- both primary keys, so that nothing is sorted, and read with COPY, which takes no parameters: they are put in as text.
-- $1 partition  $2 lowest id (of an order in a sale that is not retired)
SELECT o.id, o.sale_id, o.buyer, o.idem_key, o.fingerprint, o.cancel_reason IS NOT DISTINCT FROM 'duplicate',
       l.sku, l.quantity, l.refused
FROM orders o
JOIN order_lines l ON l.order_id = o.id
WHERE o.partition = $1 AND o.id >= '$2' AND l.order_id >= '$2'
ORDER BY o.id
