-- Takes deliveries that are due, for one attempt each: other workers see them again only when the attempt counts as lost.
-- $1 endpoint  $2 at most  $3 milliseconds after which the attempt counts as lost
WITH due AS (
    SELECT event_id FROM webhook_deliveries
    WHERE endpoint_id = $1 AND state = 'waiting' AND next_at <= now()
    ORDER BY next_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE webhook_deliveries d SET attempts = d.attempts + 1, next_at = now() + $3::bigint * interval '1 millisecond'
FROM due JOIN webhook_events e ON e.id = due.event_id LEFT JOIN orders o ON o.id = e.order_id
WHERE d.endpoint_id = $1 AND d.event_id = due.event_id
RETURNING e.id, e.type, e.at, e.sale_id, e.order_id, e.detail, o.buyer,
          (SELECT jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity, 'unit_price', l.unit_price)
                            ORDER BY l.sku)
           FROM unnest(o.skus, o.quantities, o.unit_prices) AS l (sku, quantity, unit_price)) AS items,
          d.attempts, (extract(epoch FROM now() - d.queued_at) * 1000)::bigint AS age_ms
