-- As accounts.sql, but from the orders and the ledger themselves: the same answer, where the aggregates are right. Reads
-- every order of the sales. One column more: by how much `allotted` differs from the allotments, which accounts.sql does
-- not use.
-- $1 partition   $2 sales   $3 $4 entry of each snapshot (ms, seq)   $5 highest order id at it
-- $6 lowest order id that was in flight at it
WITH snapshot AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::uuid[], $6::uuid[])
        AS t (sale_id, ms, seq, last_order, in_flight_from)
), ordered AS (
    SELECT o.sale_id, l.sku,
           sum(l.quantity) FILTER (WHERE o.state <> 'cancelled' AND o.id < s.in_flight_from) AS sold,
           sum(l.quantity) FILTER (WHERE o.state <> 'cancelled' AND o.id >= s.in_flight_from AND o.id <= s.last_order)
               AS in_flight,
           sum(l.quantity) FILTER (WHERE o.state = 'cancelled' AND o.id <= s.last_order) AS cancelled
    FROM orders o
    JOIN snapshot s ON s.sale_id = o.sale_id
    JOIN order_lines l ON l.order_id = o.id
    WHERE o.partition = $1 AND NOT l.refused
    GROUP BY o.sale_id, l.sku
), changes AS (
    SELECT g.sale_id, g.sku,
           sum(g.delta) FILTER (WHERE NOT later AND g.cause NOT LIKE 'return:%') AS allotted,
           sum(g.delta) FILTER (WHERE NOT later AND g.cause LIKE 'return:%') AS returned,
           sum(g.delta) FILTER (WHERE g.cause NOT LIKE 'return:%') AS allotted_now
    FROM (SELECT g.*, (g.entry_ms, g.entry_seq) > (s.ms, s.seq) AS later
          FROM stock_ledger g JOIN snapshot s ON s.sale_id = g.sale_id
          WHERE g.partition = $1) g
    GROUP BY g.sale_id, g.sku
), open_allotments AS (
    SELECT i.sale_id, l.key AS sku, sum(l.value::bigint) AS units
    FROM stock_intents i, jsonb_each_text(i.lines) l
    WHERE i.partition = $1 AND i.kind IN ('allotment', 'raise') AND i.applied_at IS NULL
    GROUP BY i.sale_id, l.key
), dead AS (
    SELECT d.sale_id, l.key AS sku, sum(l.value::bigint) AS units
    FROM dead_letters d
    JOIN snapshot s ON s.sale_id = d.sale_id AND (d.entry_ms, d.entry_seq) <= (s.ms, s.seq),
    jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
    GROUP BY d.sale_id, l.key
)
SELECT k.sale_id, k.sku,
       coalesce(c.allotted, 0)::bigint AS allotted,
       coalesce(o.sold, 0)::bigint AS sold,
       coalesce(o.in_flight, 0)::bigint AS in_flight,
       (coalesce(o.cancelled, 0) - coalesce(c.returned, 0))::bigint AS returning,
       coalesce(d.units, 0)::bigint AS dead,
       p.epoch, v.retired_at IS NOT NULL AS retired,
       (k.allotted - coalesce(c.allotted_now, 0) - coalesce(i.units, 0))::bigint AS allotted_drift
FROM sale_stock k
JOIN sales v ON v.id = k.sale_id
JOIN partitions p ON p.partition = k.partition
LEFT JOIN ordered o ON o.sale_id = k.sale_id AND o.sku = k.sku
LEFT JOIN changes c ON c.sale_id = k.sale_id AND c.sku = k.sku
LEFT JOIN open_allotments i ON i.sale_id = k.sale_id AND i.sku = k.sku
LEFT JOIN dead d ON d.sale_id = k.sale_id AND d.sku = k.sku
WHERE k.partition = $1 AND k.sale_id = ANY ($2)
ORDER BY k.sale_id, k.sku
