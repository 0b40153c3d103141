-- Acknowledges an incident, once. Answers with whoever did it: this call, or one before; no row where there is none.
-- $1 id  $2 by  $3 reason
WITH now_acknowledged AS (
    UPDATE incidents SET acknowledged_at = now(), acknowledged_by = $2, reason = $3
    WHERE id = $1 AND acknowledged_at IS NULL
    RETURNING acknowledged_at, acknowledged_by, reason
)
SELECT true AS is_new, acknowledged_at, acknowledged_by, reason FROM now_acknowledged
UNION ALL
SELECT false, acknowledged_at, acknowledged_by, reason FROM incidents
WHERE id = $1 AND acknowledged_at IS NOT NULL AND NOT EXISTS (SELECT FROM now_acknowledged)
