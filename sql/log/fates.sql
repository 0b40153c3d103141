-- What Postgres has made of log entries; those of which it knows nothing are not listed.
-- $1 partitions  $2 entry_ms  $3 entry_seq  $4 ids of the orders among them (null for other entries)
WITH asked AS (
    SELECT * FROM unnest($1::int2[], $2::bigint[], $3::bigint[], $4::uuid[]) AS t (partition, entry_ms, entry_seq, id)
)
SELECT a.partition, a.entry_ms, a.entry_seq,
       CASE WHEN o.id IS NOT NULL THEN o.state || coalesce(' (' || o.cancel_reason || ')', '')
            WHEN d.partition IS NOT NULL THEN coalesce(d.outcome, 'dead')
            ELSE 'applied' END
FROM asked a
LEFT JOIN orders o ON o.id = a.id
LEFT JOIN dead_letters d ON (d.partition, d.entry_ms, d.entry_seq) = (a.partition, a.entry_ms, a.entry_seq)
WHERE o.id IS NOT NULL OR d.partition IS NOT NULL
   OR EXISTS (SELECT FROM stock_ledger l
              WHERE (l.partition, l.entry_ms, l.entry_seq) = (a.partition, a.entry_ms, a.entry_seq))
