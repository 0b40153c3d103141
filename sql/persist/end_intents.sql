-- Writes changes of stock from the log that follow from steps of orders which this database has taken itself, and ends
-- their intents: all of a batch at once, since a storm of cancels has thousands. An entry whose intent is not known is
-- left out. Answers with the entries that were written, and how many rows of the ledger are new in all.
-- The intents are locked in one order, and the rows follow: two workers that were given the same entries wait for each
-- other, and do not deadlock.
-- $1 partition  $2 entry_ms  $3 entry_seq  $4 cause: of each entry
-- $5 entry_ms  $6 entry_seq  $7 sale  $8 SKU  $9 delta  $10 cause: of each line
WITH locked AS (
    SELECT e.ms, e.seq, i.cause
    FROM stock_intents i JOIN unnest($2::bigint[], $3::bigint[], $4::text[]) AS e (ms, seq, cause) ON e.cause = i.cause
    ORDER BY i.cause
    FOR UPDATE OF i
), new_rows AS (
    INSERT INTO stock_ledger (partition, entry_ms, entry_seq, sku, sale_id, delta, cause)
    SELECT $1, l.ms, l.seq, l.sku, l.sale_id, l.delta, l.cause
    FROM unnest($5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::bigint[], $10::text[])
         AS l (ms, seq, sale_id, sku, delta, cause)
    JOIN locked k ON k.ms = l.ms AND k.seq = l.seq
    ORDER BY l.ms, l.seq, l.sku
    ON CONFLICT DO NOTHING
    RETURNING sku
), ended AS (
    UPDATE stock_intents i SET applied_at = now(), ended_as = NULL
    FROM locked k WHERE i.cause = k.cause AND (i.applied_at IS NULL OR i.ended_as IS NOT NULL)
)
SELECT k.ms, k.seq, (SELECT count(*) FROM new_rows) FROM locked k
