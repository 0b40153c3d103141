-- What Redis must hold for each item of a partition, from the ledger and the orders themselves: the truth that a
-- rebuild uses. Never `allotted - sold`: units of a cancel in flight would come back twice.
--
-- A refused line removed a unit that never existed: it does not count.
-- $1 partition
WITH changes AS (
    SELECT sale_id, sku, delta AS units FROM stock_ledger WHERE partition = $1
), ordered AS (
    SELECT o.sale_id, l.sku, sum(l.quantity) AS units
    FROM orders o JOIN order_lines l ON l.order_id = o.id
    WHERE o.partition = $1 AND NOT l.refused
    GROUP BY o.sale_id, l.sku
    UNION ALL
    SELECT d.sale_id, l.key, l.value::bigint FROM dead_letters d, jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
)
SELECT c.sale_id, c.sku,
       (sum(c.units) - coalesce((SELECT sum(units) FROM ordered o WHERE o.sale_id = c.sale_id AND o.sku = c.sku), 0))::bigint
           AS stock
FROM changes c
JOIN sales s ON s.id = c.sale_id AND s.retired_at IS NULL
GROUP BY c.sale_id, c.sku
ORDER BY c.sale_id, c.sku
