-- Leaves a payment alone for a while.
-- $1 order  $2 seconds
UPDATE payments SET next_at = clock_timestamp() + make_interval(secs => $2) WHERE order_id = $1
