-- The lines of an order stand in its row. In a table of their own they cost a row, an entry of an index and a COPY for each
-- order, a fifth of what Postgres spends on it (docs/PERFORMANCE.md). They never change, and nobody asks for one without its
-- order.

-- At once, since who reads lines and waits for their orders would otherwise end all of it at the end.
LOCK TABLE orders, order_lines IN ACCESS EXCLUSIVE MODE;

-- Parallel arrays of built-in types, since those of our own would have other numbers in a database that was restored.
-- That an order names each SKU once is for whoever writes it to see.
ALTER TABLE orders
    ADD COLUMN skus        text[] COLLATE "C" NOT NULL DEFAULT '{}',
    ADD COLUMN quantities  integer[]          NOT NULL DEFAULT '{}',
    ADD COLUMN unit_prices bigint[]           NOT NULL DEFAULT '{}',     -- minor units of the currency
    -- The gate refused this line: its decrement in Redis removed a unit that never existed. NULL: it refused none.
    ADD COLUMN refused     boolean[],
    ADD CONSTRAINT whole_lines CHECK (
        cardinality(quantities) = cardinality(skus) AND cardinality(unit_prices) = cardinality(skus)
        AND (refused IS NULL OR cardinality(refused) = cardinality(skus))
        AND 0 < ALL (quantities) AND 0 <= ALL (unit_prices));

-- Every order is written anew, a million in 16 s, which doubles the table until a VACUUM. Meanwhile orders are accepted up to
-- backlog_max, and persisted afterwards. No order moves to another state: nothing is to be told.
ALTER TABLE orders DISABLE TRIGGER webhook_moved_orders;
UPDATE orders o
SET skus = l.skus, quantities = l.quantities, unit_prices = l.unit_prices, refused = l.refused
FROM (SELECT order_id, array_agg(sku ORDER BY sku) AS skus, array_agg(quantity ORDER BY sku) AS quantities,
             array_agg(unit_price ORDER BY sku) AS unit_prices,
             CASE WHEN bool_or(refused) THEN array_agg(refused ORDER BY sku) END AS refused
      FROM order_lines GROUP BY order_id) l
WHERE o.id = l.order_id;
ALTER TABLE orders ENABLE TRIGGER webhook_moved_orders;

-- A row for each line, for those who look.
DROP TABLE order_lines;
CREATE VIEW order_lines AS
SELECT o.id AS order_id, l.sku, l.quantity, l.unit_price, coalesce(l.refused, false) AS refused
FROM orders o
CROSS JOIN LATERAL unnest(o.skus, o.quantities, o.unit_prices, o.refused) AS l (sku, quantity, unit_price, refused);
ALTER VIEW order_lines ALTER COLUMN refused SET DEFAULT false;

-- For nodes of the version before, until they are stopped: they write an order, and then its lines, each of which is an update
-- here. A later migration may take this away, and the defaults, and ask that an order has lines.
CREATE FUNCTION add_order_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE orders
    SET skus = skus || NEW.sku, quantities = quantities || NEW.quantity, unit_prices = unit_prices || NEW.unit_price,
        refused = CASE WHEN NEW.refused OR refused IS NOT NULL
                       THEN coalesce(refused, array_fill(false, ARRAY[cardinality(skus)])) || NEW.refused END
    WHERE id = NEW.order_id AND NEW.sku <> ALL (skus);
    IF NOT FOUND THEN
        RAISE integrity_constraint_violation USING MESSAGE = format('order %s is not there, or has a line of %s', NEW.order_id, NEW.sku);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER add_order_line INSTEAD OF INSERT ON order_lines FOR EACH ROW EXECUTE FUNCTION add_order_line();
