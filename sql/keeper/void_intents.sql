-- Ends what can reach Redis no more: changes of stock of sales that are retired, and whose keys this partition has
-- removed. Their units go nowhere. One that was logged just before is ended by its entry all the same
-- (sql/persist/ledger.sql).
-- $1 partition
UPDATE stock_intents i SET applied_at = now(), ended_as = 'void'
FROM sale_publications p JOIN sales s ON s.id = p.sale_id
WHERE i.partition = $1 AND i.applied_at IS NULL
  AND p.sale_id = i.sale_id AND p.partition = i.partition AND p.removed_at IS NOT NULL AND s.retired_at IS NOT NULL
RETURNING i.cause
