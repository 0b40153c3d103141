-- Writes a sale as the log tells it: all of it where it is missing, and of one that is known only a newer version's
-- control and window. Answers whether this wrote the sale, or changed it; no row where neither.
--
-- Its allotments become open intents again: their own log entries end them, as they did the first time.
-- $1 sale  $2 version  $3 definition (see sql/stock/unpublished.sql)  $4 partition
WITH put_products AS (
    INSERT INTO products AS old (sku, name, description, price, currency, image_url, created_at, updated_at)
    SELECT * FROM jsonb_to_recordset($3::jsonb -> 'products')
        AS t (sku text, name text, description text, price bigint, currency text, image_url text,
              created_at timestamptz, updated_at timestamptz)
    ORDER BY sku COLLATE "C"
    ON CONFLICT (sku) DO UPDATE
    SET name = excluded.name, description = excluded.description, price = excluded.price,
        currency = excluded.currency, image_url = excluded.image_url, updated_at = excluded.updated_at
    WHERE old.updated_at < excluded.updated_at
), written AS (
    INSERT INTO sales AS old (id, name, opens_at, closes_at, control, payment, hold_s, buyer_cancel, version, created_at)
    -- An entry of an older version says nothing of cancelling.
    SELECT $1, t.name, t.opens_at, t.closes_at, t.control, t.payment, t.hold_s, coalesce(t.buyer_cancel, 'pending'), $2,
           t.created_at
    FROM jsonb_to_record($3::jsonb) AS t (name text, opens_at timestamptz, closes_at timestamptz, control text,
                                          payment text, hold_s integer, buyer_cancel text, created_at timestamptz)
    ON CONFLICT (id) DO UPDATE
    SET control = excluded.control, opens_at = excluded.opens_at, closes_at = excluded.closes_at,
        version = excluded.version
    WHERE old.version < excluded.version
    RETURNING xmax = 0 AS is_new
), items AS (
    INSERT INTO sale_items (sale_id, sku, position, price, currency, per_buyer_limit)
    SELECT $1, t.* FROM jsonb_to_recordset($3::jsonb -> 'items')
        AS t (sku text, position smallint, price bigint, currency text, per_buyer_limit integer)
    WHERE EXISTS (SELECT FROM written WHERE is_new)
    RETURNING sku
), allotments AS (
    SELECT * FROM jsonb_to_recordset($3::jsonb -> 'allotments')
        AS t (cause text, partition smallint, lines jsonb, reason text, actor text, created_at timestamptz)
), stock AS (
    -- A row for every partition, also where its share is 0: the gate must find a row to refuse by.
    INSERT INTO sale_stock (sale_id, sku, partition, allotted)
    SELECT $1, i.sku, p.partition,
           coalesce((SELECT sum((a.lines ->> i.sku)::bigint) FROM allotments a WHERE a.partition = p.partition), 0)
    FROM items i CROSS JOIN partitions p
), intents AS (
    INSERT INTO stock_intents (cause, kind, sale_id, partition, lines, reason, actor, created_at)
    SELECT cause, 'allotment', $1, partition, lines, reason, actor, created_at FROM allotments
    WHERE EXISTS (SELECT FROM written WHERE is_new)
    ON CONFLICT DO NOTHING
), publications AS (
    INSERT INTO sale_publications (sale_id, partition, version)
    SELECT $1, partition, CASE WHEN partition = $4 THEN $2 ELSE 0 END FROM partitions
    WHERE EXISTS (SELECT FROM written WHERE is_new)
), told AS (
    UPDATE sale_publications SET version = $2 WHERE sale_id = $1 AND partition = $4 AND version < $2
)
SELECT is_new FROM written
