-- What each item of a partition would have if nothing of it had been ordered: the ledger's sum, less what dead letters
-- hold. A rebuild takes from it the units of the orders themselves. Never `allotted - sold`: units of a cancel in flight
-- would come back twice.
-- Added up, not joined: see sql/reconcile/accounts.sql.
-- $1 partition
WITH part AS (
    SELECT sale_id, sku, delta AS units, true AS is_in_ledger FROM stock_ledger WHERE partition = $1
    UNION ALL
    SELECT d.sale_id, l.key, -l.value::bigint, false FROM dead_letters d, jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
), stock AS (
    SELECT sale_id, sku, sum(units)::bigint AS units FROM part GROUP BY sale_id, sku HAVING bool_or(is_in_ledger)
)
SELECT t.sale_id, t.sku, t.units AS stock
FROM stock t JOIN sales s ON s.id = t.sale_id AND s.retired_at IS NULL
ORDER BY t.sale_id, t.sku
