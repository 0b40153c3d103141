-- Brings money that came too late to the order that has claimed the units again, which may not be stored yet.
-- $1 the order that was paid  $2 the order that the money belongs to
INSERT INTO payments AS p (order_id, state, next_at, amount, currency, reference, paid_as)
SELECT $2, 'paid', clock_timestamp(), amount, currency, reference, coalesce(paid_as, order_id)
FROM payments WHERE order_id = $1
ON CONFLICT (order_id) DO UPDATE
SET state = 'paid', next_at = clock_timestamp(), attempts = 0, amount = excluded.amount, currency = excluded.currency,
    reference = excluded.reference, paid_as = excluded.paid_as, changed_at = clock_timestamp()
WHERE p.state IN ('due', 'awaited')
