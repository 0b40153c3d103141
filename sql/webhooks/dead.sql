-- Deliveries that were given up, the oldest first.
-- $1 endpoint, or null for all  $2 at most
SELECT d.endpoint_id, d.event_id, e.type, e.at, d.attempts, coalesce(d.last_error, ''), d.ended_at
FROM webhook_deliveries d JOIN webhook_events e ON e.id = d.event_id
WHERE d.state = 'dead' AND ($1::text IS NULL OR d.endpoint_id = $1)
ORDER BY d.ended_at, d.endpoint_id, d.event_id
LIMIT $2
