-- Writes one change of stock from the log, and ends the intent that asked for it. Answers with the number of rows
-- that are new (0: replayed), and whether the intent is known (if not, it was lost with a restored database).
-- $1 partition  $2 entry_ms  $3 entry_seq  $4 sale  $5 cause  $6 SKUs  $7 deltas
WITH new_rows AS (
    INSERT INTO stock_ledger (partition, entry_ms, entry_seq, sku, sale_id, delta, cause)
    SELECT $1, $2, $3, l.sku, $4, l.delta, $5 FROM unnest($6::text[], $7::bigint[]) AS l (sku, delta)
    ON CONFLICT DO NOTHING
    RETURNING sku
), ended AS (
    UPDATE stock_intents SET applied_at = now(), ended_as = NULL
    WHERE cause = $5 AND (applied_at IS NULL OR ended_as IS NOT NULL)
)
SELECT count(*), EXISTS (SELECT FROM stock_intents WHERE cause = $5) FROM new_rows
