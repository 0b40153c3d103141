-- Where these orders stand; no row for one that is not persisted.
-- $1 ids
SELECT id, state, cancel_reason, expires_at IS NOT NULL AS was_pending FROM orders WHERE id = ANY ($1)
