-- Tells of sales that have opened, closed or sold out by themselves, each once: the keys see to that. What happened
-- before anybody wanted to know of it is not told.
WITH wanted AS (
    SELECT type, min(created_at) AS since FROM webhook_endpoints, unnest(event_types) AS type
    WHERE disabled_at IS NULL AND type IN ('sale.opened', 'sale.closed', 'sale.sold_out')
    GROUP BY type
), happened AS (
    SELECT w.type, s.id AS sale_id, s.id::text AS key, '{}'::jsonb AS detail
    FROM wanted w JOIN sales s ON s.opens_at >= w.since
    WHERE w.type = 'sale.opened' AND s.control = 'scheduled' AND s.opens_at <= now() AND s.closes_at > now()
      AND s.retired_at IS NULL
    UNION ALL
    SELECT w.type, s.id, s.id, '{}' FROM wanted w JOIN sales s ON s.closes_at >= w.since
    WHERE w.type = 'sale.closed' AND s.closes_at <= now() AND s.retired_at IS NULL
    UNION ALL
    -- Once for each allotment: when units were added, it can sell out again.
    SELECT w.type, s.id, s.id || ' ' || stock.allotted, jsonb_build_object('allotted', stock.allotted)
    FROM wanted w
    JOIN sales s ON s.retired_at IS NULL AND s.control <> 'closed' AND s.opens_at <= now() AND s.closes_at > now()
    CROSS JOIN LATERAL (
        SELECT sum(allotted) AS allotted, sum(sold) AS sold FROM sale_stock WHERE sale_id = s.id
    ) AS stock
    WHERE w.type = 'sale.sold_out' AND stock.allotted > 0 AND stock.sold = stock.allotted
)
SELECT webhook_tell(array_agg(type), array_agg(sale_id::text), array_agg(NULL::uuid), array_agg(detail), array_agg(key))
FROM happened
HAVING count(*) > 0
