-- Writes an intent that the log has applied and this database has lost.
-- $1 cause  $2 kind  $3 sale  $4 partition  $5 order (null where it is no return)  $6 SKUs  $7 units  $8 reason
-- $9 milliseconds of the entry  $10 actor
INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor, created_at, applied_at)
SELECT $1, $2, $3, $4, $5, coalesce(jsonb_object_agg(l.sku, l.units) FILTER (WHERE l.sku IS NOT NULL), '{}'), $8,
       $10, to_timestamp($9::bigint / 1000.0::float8), to_timestamp($9::bigint / 1000.0::float8)
FROM (VALUES (1)) AS one LEFT JOIN unnest($6::text[], $7::bigint[]) AS l (sku, units) ON true
ON CONFLICT DO NOTHING
