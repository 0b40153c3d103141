-- Ends an order that could not be persisted: stored as cancelled, with its lines. What Redis removed for it goes back on
-- sale by an intent; every other line is marked refused, so that nobody counts it (sql/keeper/rebuilt_stock.sql). So the
-- sums of an opening agree with Redis before and after.
--
-- A line comes back where Redis can take it back: the partition has an allotment of the item, and has not said that
-- the sale is over. An intent that could never apply would stay open for ever.
-- Where the ledger has the return already (this database was restored from before the order ended, and the log was
-- replayed), the line counts, and nothing comes back a second time.
-- An order that is known already is left as it is; nothing comes back then.
-- $1 id  $2 partition  $3 sale  $4 buyer  $5 key  $6 fingerprint  $7 SKUs (each once)  $8 quantities
-- $9 whether Redis has removed its units  $10 cause of the return  $11 actor
-- Answers 1 whether the order is new  2 the lines that come back
WITH wanted AS (
    SELECT l.sku, l.quantity, i.price,
           EXISTS (SELECT FROM stock_ledger WHERE cause = $10 AND sku = l.sku) AS came_back,
           $9 AND coalesce(s.allotted > 0 AND p.drained_at IS NULL AND sale.retired_at IS NULL, false) AS comes_back
    FROM unnest($7::text[], $8::integer[]) AS l (sku, quantity)
    LEFT JOIN sales sale ON sale.id = $3
    LEFT JOIN sale_items i ON i.sale_id = $3 AND i.sku = l.sku
    LEFT JOIN sale_stock s ON s.sale_id = $3 AND s.sku = l.sku AND s.partition = $2
    LEFT JOIN sale_publications p ON p.sale_id = $3 AND p.partition = $2
), new_order AS (
    -- The price of an item that Postgres does not know is known to nobody.
    INSERT INTO orders (id, sale_id, partition, buyer, idem_key, fingerprint, state, cancel_reason,
                        skus, quantities, unit_prices, refused)
    SELECT $1, $3, $2, $4, $5, $6, 'cancelled',
           CASE WHEN EXISTS (SELECT FROM orders WHERE buyer = $4 AND sale_id = $3 AND idem_key = $5 AND id <> $1
                                                  AND cancel_reason IS DISTINCT FROM 'duplicate')
                THEN 'duplicate' ELSE 'operator' END,
           array_agg(sku ORDER BY sku), array_agg(quantity ORDER BY sku), array_agg(coalesce(price, 0) ORDER BY sku),
           CASE WHEN bool_or(refused) THEN array_agg(refused ORDER BY sku) END
    FROM (SELECT sku COLLATE "C" AS sku, quantity, price, NOT (came_back OR comes_back) AS refused FROM wanted) l
    ON CONFLICT (id) DO NOTHING
    RETURNING id, cancel_reason
), new_intent AS (
    INSERT INTO stock_intents (cause, kind, sale_id, partition, order_id, lines, reason, actor)
    SELECT $10, 'return', $3, $2, o.id, jsonb_object_agg(w.sku, w.quantity), o.cancel_reason, $11
    FROM new_order o CROSS JOIN wanted w
    WHERE w.comes_back AND NOT w.came_back
    GROUP BY o.id, o.cancel_reason
    RETURNING lines
)
SELECT EXISTS (SELECT FROM new_order), (SELECT lines FROM new_intent)
