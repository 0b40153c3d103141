-- One intent per partition that has units of a new sale: what the worker turns into a log entry. The cause
-- makes it happen once.
-- $1: sale; $2: who created it.
INSERT INTO stock_intents (cause, kind, sale_id, partition, lines, reason, actor)
SELECT format('allotment:%s:%s', sale_id, partition),
       'allotment',
       sale_id,
       partition,
       jsonb_object_agg(sku, allotted),
       'allotment',
       $2
FROM sale_stock
WHERE sale_id = $1 AND allotted > 0
GROUP BY sale_id, partition
ORDER BY partition
