-- The last gate of promise 1: counts units as sold, only where they fit. Answers with the items that passed.
--
-- Rows are locked in key order first: unsorted batches deadlock.
-- $1 partition  $2 sales  $3 SKUs  $4 units
WITH locked AS (
    SELECT s.sale_id, s.sku, w.units FROM sale_stock s
    JOIN unnest($2::text[], $3::text[], $4::bigint[]) AS w (sale_id, sku, units) ON w.sale_id = s.sale_id AND w.sku = s.sku
    WHERE s.partition = $1
    ORDER BY s.sale_id, s.sku
    FOR UPDATE OF s
)
UPDATE sale_stock s SET sold = s.sold + l.units
FROM locked l
WHERE s.sale_id = l.sale_id AND s.sku = l.sku AND s.partition = $1 AND s.sold + l.units <= s.allotted
RETURNING s.sale_id, s.sku
