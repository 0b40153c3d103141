-- What Postgres knows of the items of some sales, each up to the log position of a snapshot. Everything up to there is
-- persisted when this runs. Redis must hold
--   allotted - sold - in flight - returning - dead
--
-- From aggregates, which tell of now, without what lies above the position: few rows, found by the order of their keys,
-- however many orders there are. One statement, so all of it is seen at one moment.
--
-- later:     orders since the snapshot, and those in flight at it. A refused line removed a unit that never existed.
-- allotted:  `cause` is compared bytewise, so everything but the returns are two ranges of its index.
-- coming_back: cancelled, and not yet back in stock. In ledger and orders alike, what happened later is taken off again.
-- $1 partition   $2 sales   $3 $4 entry of each snapshot (ms, seq)   $5 highest order id at it
-- $6 lowest order id that was in flight at it   $7 the least of $6   $8 the least of $3
WITH snapshot AS (
    SELECT * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::uuid[], $6::uuid[])
        AS t (sale_id, ms, seq, last_order, in_flight_from)
), later AS (
    SELECT o.sale_id, l.sku,
           coalesce(sum(l.quantity) FILTER (WHERE o.id > s.last_order AND o.state <> 'cancelled'), 0) AS active,
           coalesce(sum(l.quantity) FILTER (WHERE o.id > s.last_order AND o.state = 'cancelled'), 0) AS cancelled,
           coalesce(sum(l.quantity) FILTER (WHERE o.id <= s.last_order AND o.state <> 'cancelled'), 0) AS in_flight
    FROM orders o
    JOIN snapshot s ON s.sale_id = o.sale_id AND o.id >= s.in_flight_from
    CROSS JOIN LATERAL unnest(o.skus, o.quantities, o.refused) AS l (sku, quantity, refused)
    WHERE o.partition = $1 AND o.id >= $7 AND l.refused IS NOT TRUE
    GROUP BY o.sale_id, l.sku
), later_changes AS (
    SELECT g.sale_id, g.sku,
           coalesce(sum(g.delta) FILTER (WHERE g.cause LIKE 'return:%'), 0) AS returned,
           coalesce(sum(g.delta) FILTER (WHERE g.cause NOT LIKE 'return:%'), 0) AS allotted
    FROM stock_ledger g
    JOIN snapshot s ON s.sale_id = g.sale_id AND (g.entry_ms, g.entry_seq) > (s.ms, s.seq)
    WHERE g.partition = $1 AND g.entry_ms >= $8
    GROUP BY g.sale_id, g.sku
), allotted AS (
    SELECT sale_id, sku, sum(delta) AS units FROM stock_ledger
    WHERE partition = $1 AND sale_id = ANY ($2) AND (cause < 'return:' OR cause >= 'return;')
    GROUP BY sale_id, sku
), coming_back AS (
    SELECT i.sale_id, l.key AS sku, sum(l.value::bigint) AS units
    FROM stock_intents i, jsonb_each_text(i.lines) l
    WHERE i.partition = $1 AND i.kind = 'return' AND i.applied_at IS NULL
    GROUP BY i.sale_id, l.key
), dead AS (
    SELECT d.sale_id, l.key AS sku, sum(l.value::bigint) AS units
    FROM dead_letters d
    JOIN snapshot s ON s.sale_id = d.sale_id AND (d.entry_ms, d.entry_seq) <= (s.ms, s.seq),
    jsonb_each_text(d.lines) l
    WHERE d.partition = $1 AND d.ended_at IS NULL
    GROUP BY d.sale_id, l.key
), part (sale_id, sku, kind, units) AS (
    -- Added up, not joined: where nothing is known yet of how much a table holds, as soon after a sale's opening, the planner
    -- takes a join of a thousand items with a thousand for one of few, and each is held against each.
    SELECT sale_id, sku, 'counted', sold FROM sale_stock WHERE partition = $1 AND sale_id = ANY ($2)
    UNION ALL SELECT sale_id, sku, 'sold', -active - in_flight FROM later
    UNION ALL SELECT sale_id, sku, 'in flight', in_flight FROM later
    UNION ALL SELECT sale_id, sku, 'returning', -cancelled FROM later
    UNION ALL SELECT sale_id, sku, 'returning', returned FROM later_changes
    UNION ALL SELECT sale_id, sku, 'allotted', -allotted FROM later_changes
    UNION ALL SELECT sale_id, sku, 'allotted', units FROM allotted
    UNION ALL SELECT sale_id, sku, 'returning', units FROM coming_back
    UNION ALL SELECT sale_id, sku, 'dead', units FROM dead
), account AS (
    SELECT sale_id, sku,
           coalesce(sum(units) FILTER (WHERE kind = 'allotted'), 0)::bigint AS allotted,
           coalesce(sum(units) FILTER (WHERE kind IN ('counted', 'sold')), 0)::bigint AS sold,
           coalesce(sum(units) FILTER (WHERE kind = 'in flight'), 0)::bigint AS in_flight,
           coalesce(sum(units) FILTER (WHERE kind = 'returning'), 0)::bigint AS "returning",
           coalesce(sum(units) FILTER (WHERE kind = 'dead'), 0)::bigint AS dead
    FROM part GROUP BY sale_id, sku HAVING bool_or(kind = 'counted')
)
SELECT a.sale_id, a.sku, a.allotted, a.sold, a.in_flight, a."returning", a.dead, p.epoch,
       v.retired_at IS NOT NULL AS retired
FROM account a
JOIN sales v ON v.id = a.sale_id
JOIN partitions p ON p.partition = $1
ORDER BY a.sale_id, a.sku
