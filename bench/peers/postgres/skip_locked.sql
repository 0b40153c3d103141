-- Decides a claim. Each unit is a row, and no two claims wait for the same one.
CREATE FUNCTION claim(
    new_id uuid, of_sale text, of_buyer text, of_key text, of_sku text, wanted integer,
    OUT outcome text, OUT order_id uuid
) LANGUAGE plpgsql AS $$
DECLARE
    taken integer;
BEGIN
    SELECT id INTO order_id FROM orders WHERE buyer = of_buyer AND sale = of_sale AND idem_key = of_key;
    IF FOUND THEN
        outcome := 'known';
        RETURN;
    END IF;
    INSERT INTO orders (id, sale, buyer, idem_key) VALUES (new_id, of_sale, of_buyer, of_key)
    ON CONFLICT (buyer, sale, idem_key) DO NOTHING;
    IF NOT FOUND THEN
        SELECT id INTO order_id FROM orders WHERE buyer = of_buyer AND sale = of_sale AND idem_key = of_key;
        outcome := 'known';
        RETURN;
    END IF;
    UPDATE units u SET order_id = new_id
     -- An array: the planner may run a subquery of IN more than once, and lock more than it takes.
     WHERE u.id = ANY (ARRAY(SELECT f.id FROM units f
                     WHERE f.sale = of_sale AND f.sku = of_sku AND f.order_id IS NULL
                     ORDER BY f.id LIMIT wanted FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS taken = ROW_COUNT;
    IF taken < wanted THEN
        UPDATE units u SET order_id = NULL WHERE u.order_id = new_id;
        DELETE FROM orders WHERE id = new_id;
        outcome := 'sold-out';
        RETURN;
    END IF;
    INSERT INTO order_lines (order_id, sku, quantity, unit_price) VALUES (new_id, of_sku, wanted, 1999);
    outcome := 'new';
    order_id := new_id;
END
$$;
