-- Moves allotments by what the log has added to Redis, or has taken from it (units below 0). Answers with the number of items that were moved.
-- $1 sale  $2 partition  $3 SKUs  $4 units
WITH locked AS (
    SELECT s.sku, l.units FROM unnest($3::text[], $4::bigint[]) AS l (sku, units)
    JOIN sale_stock s ON s.sale_id = $1 AND s.partition = $2 AND s.sku = l.sku
    ORDER BY s.sku
    FOR UPDATE OF s
)
UPDATE sale_stock s SET allotted = s.allotted + l.units
FROM locked l WHERE s.sale_id = $1 AND s.partition = $2 AND s.sku = l.sku
