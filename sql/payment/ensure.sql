-- Writes the payment of an order that was stored without one: by an older version, or cancelled as it was stored.
-- $1 order
INSERT INTO payments (order_id, state)
SELECT o.id, 'awaited' FROM orders o JOIN sales s ON s.id = o.sale_id
WHERE o.id = $1 AND s.payment <> 'none'
ON CONFLICT DO NOTHING
