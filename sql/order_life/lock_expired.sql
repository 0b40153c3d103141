-- Pending orders whose hold is over, oldest first, held until the end of the transaction. Those that another sweeper or a
-- cancel holds are left to it. Columns as in lock.sql.
-- $1 at most
SELECT o.id, o.state, o.cancel_reason, s.payment, s.buyer_cancel,
       s.control = 'closed' OR s.closes_at <= clock_timestamp() AS sale_is_closed,
       coalesce(o.expires_at <= clock_timestamp(), false) AS hold_is_over,
       true AS is_drained
FROM orders o
JOIN sales s ON s.id = o.sale_id
JOIN partitions p ON p.partition = o.partition AND p.drained_postgres = postgres_identity()
WHERE o.state = 'pending' AND o.expires_at <= clock_timestamp()
ORDER BY o.expires_at
LIMIT $1
FOR UPDATE OF o SKIP LOCKED
