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
    CROSS JOIN LATERAL unnest(o.skus, o.quantities, o.refused) AS l (sku, quantity, refused)
    WHERE o.partition = $1 AND l.refused IS NOT TRUE
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
), part (sale_id, sku, kind, units) AS (
    -- Added up, not joined: see accounts.sql.
    SELECT sale_id, sku, 'counted', allotted FROM sale_stock WHERE partition = $1 AND sale_id = ANY ($2)
    UNION ALL SELECT sale_id, sku, 'sold', sold FROM ordered
    UNION ALL SELECT sale_id, sku, 'in flight', in_flight FROM ordered
    UNION ALL SELECT sale_id, sku, 'returning', cancelled FROM ordered
    UNION ALL SELECT sale_id, sku, 'returning', -returned FROM changes
    UNION ALL SELECT sale_id, sku, 'allotted', allotted FROM changes
    UNION ALL SELECT sale_id, sku, 'known', -allotted_now FROM changes
    UNION ALL SELECT sale_id, sku, 'known', -units FROM open_allotments
    UNION ALL SELECT sale_id, sku, 'dead', units FROM dead
), account AS (
    SELECT sale_id, sku,
           coalesce(sum(units) FILTER (WHERE kind = 'allotted'), 0)::bigint AS allotted,
           coalesce(sum(units) FILTER (WHERE kind = 'sold'), 0)::bigint AS sold,
           coalesce(sum(units) FILTER (WHERE kind = 'in flight'), 0)::bigint AS in_flight,
           coalesce(sum(units) FILTER (WHERE kind = 'returning'), 0)::bigint AS "returning",
           coalesce(sum(units) FILTER (WHERE kind = 'dead'), 0)::bigint AS dead,
           coalesce(sum(units) FILTER (WHERE kind IN ('counted', 'known')), 0)::bigint AS allotted_drift
    FROM part GROUP BY sale_id, sku HAVING bool_or(kind = 'counted')
)
SELECT a.sale_id, a.sku, a.allotted, a.sold, a.in_flight, a."returning", a.dead, p.epoch,
       v.retired_at IS NOT NULL AS retired, a.allotted_drift
FROM account a
JOIN sales v ON v.id = a.sale_id
JOIN partitions p ON p.partition = $1
ORDER BY a.sale_id, a.sku
