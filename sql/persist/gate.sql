-- The last gate of promise 1: counts units as sold, only where they fit. Answers with the items that passed, by their number
-- from 1.
--
-- The rows are changed in whatever order the plan has them: who else changes several of a partition holds its gate's lock, as
-- this does (src/postgres/locks.rs). To lock them in one order first is a third more work.
-- $1 partition  $2 sales  $3 SKUs  $4 units
UPDATE sale_stock s SET sold = s.sold + w.units
FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS w (sale_id, sku, units, number)
WHERE s.sale_id = w.sale_id AND s.sku = w.sku AND s.partition = $1 AND s.sold + w.units <= s.allotted
RETURNING w.number
