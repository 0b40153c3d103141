-- The first change of stock of any sale that is not retired: no order of such a sale stands before it in the log.
-- $1 partition
SELECT f.entry_ms, f.entry_seq
FROM sales s
CROSS JOIN LATERAL (
    SELECT l.entry_ms, l.entry_seq FROM stock_ledger l
    WHERE l.partition = $1 AND l.sale_id = s.id AND l.cause NOT LIKE 'return:%'
    ORDER BY l.entry_ms, l.entry_seq LIMIT 1
) f
WHERE s.retired_at IS NULL
ORDER BY f.entry_ms, f.entry_seq
LIMIT 1
