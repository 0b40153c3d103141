-- Where these orders stand; no row for one that is not persisted.
-- $1 ids
SELECT id, state, cancel_reason FROM orders WHERE id = ANY ($1)
