-- Every order that Redis must remember for a sale, a buyer's orders together: keys for ever, units while they count
-- against the buyer's limits (not once they went back).
-- $1 partition  $2 sale
WITH lines AS (
    SELECT l.order_id, string_agg(l.sku || ':' || l.quantity, ',' ORDER BY l.sku) AS lines
    FROM order_lines l JOIN orders o ON o.id = l.order_id
    WHERE o.partition = $1 AND o.sale_id = $2
    GROUP BY l.order_id
)
SELECT o.id, o.buyer, o.idem_key, o.fingerprint,
       CASE WHEN r.order_id IS NULL THEN lines.lines ELSE '' END AS lines
FROM orders o
JOIN lines ON lines.order_id = o.id
LEFT JOIN stock_intents r ON r.order_id = o.id AND r.kind = 'return' AND r.applied_at IS NOT NULL
WHERE o.partition = $1 AND o.sale_id = $2 AND o.cancel_reason IS DISTINCT FROM 'duplicate'
ORDER BY o.buyer, o.id
