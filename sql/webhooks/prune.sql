-- Forgets what is long over, a part at a time: deliveries that have ended, those of endpoints that are gone, and events of
-- orders that nobody is to be told of any more. Events of sales stay: they say that it was told.
WITH ended AS (
    DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM webhook_deliveries
        WHERE state = 'delivered' AND ended_at < now() - interval '7 days'
           OR state = 'dead' AND ended_at < now() - interval '30 days'
        LIMIT 5000))
), orphans AS (
    DELETE FROM webhook_deliveries WHERE ctid = ANY (ARRAY(
        SELECT d.ctid FROM webhook_deliveries d
        WHERE NOT EXISTS (SELECT FROM webhook_endpoints p WHERE p.id = d.endpoint_id)
        LIMIT 5000))
)
DELETE FROM webhook_events WHERE id = ANY (ARRAY(
    SELECT e.id FROM webhook_events e
    WHERE e.order_id IS NOT NULL AND e.at < now() - interval '7 days'
      AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.event_id = e.id)
    LIMIT 5000))
