-- One order for an operator, with its lines and its steps.
-- $1 id  $2 cause of its return
SELECT o.id, o.sale_id, o.partition, o.buyer, o.idem_key, o.state, o.cancel_reason, o.accepted_at, o.expires_at,
       o.refund_due_at,
       (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity, 'unit_price', l.unit_price,
                                                     'refused', l.refused IS TRUE) ORDER BY l.sku), '[]')
        FROM unnest(o.skus, o.quantities, o.unit_prices, o.refused) AS l (sku, quantity, unit_price, refused)) AS items,
       (SELECT coalesce(jsonb_agg(to_jsonb(e) - 'order_id' ORDER BY e.sequence), '[]')
        FROM order_events e WHERE e.order_id = o.id) AS events,
       -- Whether the units of a cancelled order are back: null where none are on their way or back.
       (SELECT CASE WHEN i.ended_as IS NOT NULL THEN i.ended_as WHEN i.applied_at IS NOT NULL THEN 'back'
                     ELSE 'on_their_way' END
        FROM stock_intents i WHERE i.cause = $2) AS units,
       p.state AS payment, p.amount, p.currency, p.reference, p.moved_to, p.paid_as, p.last_error
FROM orders o LEFT JOIN payments p ON p.order_id = o.id
WHERE o.id = $1
