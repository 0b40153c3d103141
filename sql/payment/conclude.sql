-- Writes how a payment stands. What is not known of the charge stays as it was.
-- $1 order  $2 state  $3 seconds until it is looked at again; null: never  $4 amount  $5 currency  $6 reference
-- $7 what went wrong; null: nothing  $8 the order that the money belongs to now
UPDATE payments
SET state = $2, next_at = clock_timestamp() + make_interval(secs => $3),
    attempts = CASE WHEN state = $2 THEN attempts ELSE 0 END,
    amount = coalesce($4, amount), currency = coalesce($5, currency), reference = coalesce($6, reference),
    last_error = $7, moved_to = coalesce($8, moved_to),
    changed_at = CASE WHEN state = $2 THEN changed_at ELSE clock_timestamp() END
WHERE order_id = $1
