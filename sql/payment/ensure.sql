-- Writes the payment of an order that an older version has persisted without one.
-- $1 order
INSERT INTO payments (order_id, state)
SELECT id, 'awaited' FROM orders WHERE id = $1 AND expires_at IS NOT NULL
ON CONFLICT DO NOTHING
