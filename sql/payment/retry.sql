-- Has payments looked at again at once. What a webhook is waited for is left alone, and so is what has ended.
-- $1 orders; null: all that are looked at again some time
UPDATE payments SET next_at = clock_timestamp()
WHERE ($1::uuid[] IS NULL OR order_id = ANY ($1)) AND next_at IS NOT NULL
RETURNING order_id
