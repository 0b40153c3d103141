-- One dead letter.
-- $1 partition  $2 entry_ms  $3 entry_seq
SELECT partition, entry_ms, entry_seq, fields, sale_id, lines, error, found_at, retries, tried_at,
       ended_at, ended_by, outcome, reason
FROM dead_letters
WHERE partition = $1 AND entry_ms = $2 AND entry_seq = $3
