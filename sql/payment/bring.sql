-- Brings money that came too late to the order that has claimed the units again: it is paid, or, where the log says that it
-- was cancelled since, its money goes back under the name by which the gateway knows it. Answers whether it is there now; no
-- row where that order is not stored. Not where it was cancelled as it was stored, and so has no payment; nor where money of
-- its own has come for it, also such as goes back by now; nor where it was declined.
-- $1 the order that was paid  $2 the order that the money belongs to
WITH money AS (
    SELECT amount, currency, reference, coalesce(paid_as, order_id) AS paid_as FROM payments WHERE order_id = $1
), held AS (
    SELECT p.order_id, p.paid_as FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.order_id = $2 FOR UPDATE OF p
), brought AS (
    UPDATE payments p
    SET state = CASE WHEN p.state = 'refund_due' THEN p.state ELSE 'paid' END,
        next_at = clock_timestamp(), attempts = 0, amount = m.amount, currency = m.currency, reference = m.reference,
        paid_as = m.paid_as, changed_at = clock_timestamp()
    FROM money m, held h
    WHERE p.order_id = h.order_id AND p.paid_as IS NULL AND p.amount IS NULL
      AND p.state IN ('due', 'awaited', 'unknown', 'void', 'refund_due')
    RETURNING p.order_id
)
SELECT EXISTS (SELECT FROM brought) OR coalesce(h.paid_as = m.paid_as, false)
FROM orders o CROSS JOIN money m LEFT JOIN held h ON h.order_id = o.id
WHERE o.id = $2
