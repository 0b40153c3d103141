-- How many log entries of a partition after one of them are here.
-- Confirmations, and returns of no unit, leave no row in the ledger: their intents tell, by the time at which their entries
-- were persisted.
-- $1 partition  $2 $3 that entry (ms, seq)  $4 the lowest id of an order of its millisecond
SELECT (SELECT count(*) FROM orders WHERE id >= $4 AND partition = $1)
     + (SELECT count(DISTINCT (entry_ms, entry_seq)) FROM stock_ledger
        WHERE partition = $1 AND (entry_ms, entry_seq) > ($2, $3))
     + (SELECT count(*) FROM stock_intents
        WHERE partition = $1 AND lines = '{}' AND ended_as IS NULL AND applied_at > to_timestamp($2::bigint / 1000.0::float8))
     + (SELECT count(*) FROM dead_letters
        WHERE partition = $1 AND (entry_ms, entry_seq) > ($2, $3) AND outcome IS DISTINCT FROM 'retried')
