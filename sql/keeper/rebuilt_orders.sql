-- Every order that Redis must remember. In the order of the primary key, so that nothing is sorted, and read with COPY, which
-- takes no parameters: they are put in as text.
-- $1 partition  $2 lowest id (of an order in a sale that is not retired)
SELECT o.id, o.sale_id, o.buyer, o.idem_key, o.fingerprint, o.cancel_reason IS NOT DISTINCT FROM 'duplicate',
       o.skus, o.quantities, o.refused
FROM orders o
WHERE o.partition = $1 AND o.id >= '$2'
ORDER BY o.id
