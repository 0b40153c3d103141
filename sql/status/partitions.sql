-- What Postgres knows of each partition, and who is its keeper.
-- $1 class of the keeper's advisory lock
SELECT p.partition, p.epoch, p.opened_at, p.watermark_ms, p.watermark_seq,
       k.pid, coalesce(host(k.client_addr), 'local'), coalesce(k.application_name, ''), k.backend_start,
       (SELECT count(*) FROM dead_letters d WHERE d.partition = p.partition AND d.ended_at IS NULL),
       i.open, i.oldest_ms,
       n.count, n.last
FROM partitions p
LEFT JOIN LATERAL (
    SELECT a.pid, a.client_addr, a.application_name, a.backend_start
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    -- Two integers: the class, the key, and 2 for this form of lock.
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.classid = $1::int::oid AND l.objid = p.partition::int::oid
    LIMIT 1
) k ON true
CROSS JOIN LATERAL (
    SELECT count(*) AS open, (extract(epoch FROM now() - min(created_at)) * 1000)::bigint AS oldest_ms
    FROM stock_intents WHERE partition = p.partition AND applied_at IS NULL
) i
CROSS JOIN LATERAL (
    SELECT count(*) AS count, max(happened_at) AS last FROM incidents
    WHERE partition = p.partition AND acknowledged_at IS NULL
) n
ORDER BY p.partition
