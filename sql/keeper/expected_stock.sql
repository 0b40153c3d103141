-- What Redis must hold for each item of a partition, from aggregates: quick, for judging.
--
-- Every entry of the log is persisted when this runs, so:
--   stock = allotments in the log - units of active orders - units on their way back - units of dead letters
-- An item without an allotment in the log has no stock in Redis at all, and is not listed.
-- Added up, not joined: see sql/reconcile/accounts.sql.
-- $1 partition
WITH part AS (
    SELECT sale_id, sku, delta AS units, true AS is_allotment FROM stock_ledger
    WHERE partition = $1 AND cause NOT LIKE 'return:%'
    UNION ALL
    SELECT sale_id, sku, -sold, false FROM sale_stock WHERE partition = $1
    UNION ALL
    SELECT i.sale_id, l.key, -l.value::bigint, false FROM stock_intents i, jsonb_each_text(i.lines) l
    WHERE i.partition = $1 AND i.kind = 'return' AND i.applied_at IS NULL
    UNION ALL
    SELECT d.sale_id, l.key, -l.value::bigint, false FROM dead_letters d, jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
), stock AS (
    SELECT sale_id, sku, sum(units)::bigint AS units FROM part GROUP BY sale_id, sku HAVING bool_or(is_allotment)
)
SELECT t.sale_id, t.sku, t.units AS stock
FROM stock t JOIN sales s ON s.id = t.sale_id AND s.retired_at IS NULL
ORDER BY t.sale_id, t.sku
