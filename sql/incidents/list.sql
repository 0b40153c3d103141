-- Incidents, the newest first.
-- $1 partition, or null for all  $2 also those that were acknowledged  $3 at most
SELECT id, kind, partition, subject, detail, happened_at, acknowledged_at, acknowledged_by, reason
FROM incidents
WHERE ($1::int2 IS NULL OR partition = $1) AND ($2 OR acknowledged_at IS NULL)
ORDER BY id DESC
LIMIT $3
