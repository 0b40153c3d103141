-- What became of an adjustment, by partition: SKU, units (below 0 where they go), whether it is open, whether refused.
-- $1 causes
SELECT l.key, CASE WHEN i.kind = 'lower' THEN -l.value::bigint ELSE l.value::bigint END,
       i.applied_at IS NULL, i.ended_as IS NOT NULL
FROM stock_intents i, jsonb_each_text(i.lines) l
WHERE i.cause = ANY ($1)
