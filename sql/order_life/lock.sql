-- One order, held until the end of the transaction, with what the rules look at (src/order_life/rules.rs), all by this
-- database's clock; and whether this Postgres has all that was persisted anywhere.
-- $1 id  $2 only if it is this buyer's; null: anybody's
SELECT o.id, o.state, o.cancel_reason, s.payment, s.buyer_cancel,
       s.control = 'closed' OR s.closes_at <= clock_timestamp() AS sale_is_closed,
       coalesce(o.expires_at <= clock_timestamp(), false) AS hold_is_over,
       p.drained_postgres IS NOT DISTINCT FROM postgres_identity() AS is_drained
FROM orders o
JOIN sales s ON s.id = o.sale_id
JOIN partitions p ON p.partition = o.partition
WHERE o.id = $1 AND ($2::text IS NULL OR o.buyer = $2)
FOR UPDATE OF o
