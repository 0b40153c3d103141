-- Asks Redis for an adjustment: an intent for each partition that has a share. A raise counts in Postgres from here on,
-- before Redis can sell it; a lowering when its log entry is persisted, after Redis has stopped selling it.
-- $1 sale  $2 SKU  $3 kind  $4 actor  $5 reason  $6 partitions  $7 causes  $8 units
WITH share AS (
    SELECT * FROM unnest($6::int2[], $7::text[], $8::bigint[]) AS t (partition, cause, units) WHERE units > 0
), locked AS (
    SELECT s.partition, h.units FROM sale_stock s JOIN share h ON h.partition = s.partition
    WHERE s.sale_id = $1 AND s.sku = $2 AND $3 = 'raise'
    ORDER BY s.partition
    FOR UPDATE OF s
), raised AS (
    UPDATE sale_stock s SET allotted = s.allotted + l.units
    FROM locked l WHERE s.sale_id = $1 AND s.sku = $2 AND s.partition = l.partition
)
INSERT INTO stock_intents (cause, kind, sale_id, partition, lines, reason, actor)
SELECT cause, $3, $1, partition, jsonb_build_object($2::text, units), $5, $4 FROM share ORDER BY partition
