-- Writes one event for one endpoint.
-- $1 endpoint  $2 event  $3 type  $4 detail
WITH event AS (
    INSERT INTO webhook_events (id, type, detail)
    SELECT $2, $3, $4 FROM webhook_endpoints WHERE id = $1
    RETURNING id
)
INSERT INTO webhook_deliveries (endpoint_id, event_id) SELECT $1, id FROM event
