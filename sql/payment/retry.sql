-- Has payments looked at again at once. What a webhook is waited for is left alone, and so is what has ended.
-- $1 orders; null: all that are looked at again some time
-- Waits for nobody, whose locks could wait for these: what somebody holds is looked at now.
UPDATE payments SET next_at = clock_timestamp()
WHERE order_id IN (
    SELECT order_id FROM payments
    WHERE ($1::uuid[] IS NULL OR order_id = ANY ($1)) AND next_at IS NOT NULL
    FOR UPDATE SKIP LOCKED
)
RETURNING order_id
