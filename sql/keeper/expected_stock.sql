-- What Redis must hold for each item of a partition, from aggregates: quick, for judging.
--
-- Every entry of the log is persisted when this runs, so:
--   stock = allotments in the log - units of active orders - units on their way back - units of dead letters
-- An item without an allotment in the log has no stock in Redis at all, and is not listed.
-- $1 partition
WITH allotted AS (
    SELECT sale_id, sku, sum(delta) AS units FROM stock_ledger
    WHERE partition = $1 AND cause NOT LIKE 'return:%'
    GROUP BY sale_id, sku
), gone AS (
    SELECT sale_id, sku, sold AS units FROM sale_stock WHERE partition = $1
    UNION ALL
    SELECT i.sale_id, l.key, l.value::bigint FROM stock_intents i, jsonb_each_text(i.lines) l
    WHERE i.partition = $1 AND i.kind = 'return' AND i.applied_at IS NULL
    UNION ALL
    SELECT d.sale_id, l.key, l.value::bigint FROM dead_letters d, jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
)
SELECT a.sale_id, a.sku, (a.units - coalesce(sum(g.units), 0))::bigint AS stock
FROM allotted a
JOIN sales s ON s.id = a.sale_id AND s.retired_at IS NULL
LEFT JOIN gone g ON g.sale_id = a.sale_id AND g.sku = a.sku
GROUP BY a.sale_id, a.sku, a.units
ORDER BY a.sale_id, a.sku
