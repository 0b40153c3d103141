-- What a partition has to know of a sale's items besides their stock: limits, and whether it has no unit of them.
-- $1 sale  $2 partition
SELECT i.sku, i.per_buyer_limit, s.allotted = 0 AS without_units
FROM sale_items i
JOIN sale_stock s ON s.sale_id = i.sale_id AND s.sku = i.sku AND s.partition = $2
WHERE i.sale_id = $1
