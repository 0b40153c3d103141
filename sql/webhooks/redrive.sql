-- Queues dead deliveries anew.
-- $1 endpoint  $2 event, or null for all
UPDATE webhook_deliveries
SET state = 'waiting', ended_at = NULL, attempts = 0, queued_at = now(), next_at = now()
WHERE endpoint_id = $1 AND state = 'dead' AND ($2::text IS NULL OR event_id = $2)
