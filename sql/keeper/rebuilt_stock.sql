-- What each item of a partition would have if nothing of it had been ordered: the ledger's sum, less what dead letters
-- hold. A rebuild takes from it the units of the orders themselves. Never `allotted - sold`: units of a cancel in flight
-- would come back twice.
-- $1 partition
WITH held AS (
    SELECT d.sale_id, l.key AS sku, sum(l.value::bigint) AS units
    FROM dead_letters d, jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
    GROUP BY d.sale_id, l.key
)
SELECT c.sale_id, c.sku, (sum(c.delta) - coalesce(max(h.units), 0))::bigint AS stock
FROM stock_ledger c
JOIN sales s ON s.id = c.sale_id AND s.retired_at IS NULL
LEFT JOIN held h ON h.sale_id = c.sale_id AND h.sku = c.sku
WHERE c.partition = $1
GROUP BY c.sale_id, c.sku
ORDER BY c.sale_id, c.sku
