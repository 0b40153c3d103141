-- An item in each partition: units that nobody has bought and no adjustment is about to take, and the allotment.
-- $1 sale  $2 SKU
SELECT s.partition,
       (s.allotted - s.sold - coalesce((SELECT sum((i.lines ->> s.sku)::bigint) FROM stock_intents i
                                        WHERE i.sale_id = s.sale_id AND i.partition = s.partition AND i.kind = 'lower'
                                          AND i.applied_at IS NULL), 0))::bigint,
       s.allotted
FROM sale_stock s
WHERE s.sale_id = $1 AND s.sku = $2
ORDER BY s.partition
