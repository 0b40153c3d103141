-- The last gate of promise 1: counts units as sold, only where they fit. Answers with the items that passed.
--
-- Rows are locked in key order first: unsorted batches deadlock.
-- $1 partition  $2 sales  $3 SKUs  $4 units
WITH wanted AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::bigint[]) AS t (sale_id, sku, units)
), locked AS (
    SELECT s.sale_id, s.sku FROM sale_stock s JOIN wanted w ON w.sale_id = s.sale_id AND w.sku = s.sku
    WHERE s.partition = $1
    ORDER BY s.sale_id, s.sku
    FOR UPDATE OF s
)
UPDATE sale_stock s SET sold = s.sold + w.units
FROM wanted w JOIN locked l ON l.sale_id = w.sale_id AND l.sku = w.sku
WHERE s.sale_id = w.sale_id AND s.sku = w.sku AND s.partition = $1 AND s.sold + w.units <= s.allotted
RETURNING s.sale_id, s.sku
