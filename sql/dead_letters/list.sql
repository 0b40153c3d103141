-- Dead letters, oldest entry first.
-- $1 partition, or null for all  $2 also those that were ended  $3 at most
SELECT partition, entry_ms, entry_seq, fields, sale_id, lines, error, found_at, retries, tried_at,
       ended_at, ended_by, outcome, reason
FROM dead_letters
WHERE ($1::int2 IS NULL OR partition = $1) AND ($2 OR ended_at IS NULL)
ORDER BY entry_ms, partition, entry_seq
LIMIT $3
