-- Moves a sale by compare-and-set, and writes down who did it and why. No row where somebody else was first.
-- $1 sale  $2 version before  $3 control  $4 opens_at  $5 action  $6 actor  $7 reason, or null
WITH changed AS (
    UPDATE sales SET control = $3, opens_at = $4, version = version + 1
    WHERE id = $1 AND version = $2
    RETURNING id, version
)
INSERT INTO sale_events (sale_id, version, action, actor, reason)
SELECT id, version, $5, $6, $7 FROM changed
