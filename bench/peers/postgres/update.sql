-- Decides a claim. The row of the item is touched last, so that it is locked for as short as can be: from here to the
-- end of the commit.
CREATE FUNCTION claim(
    new_id uuid, of_sale text, of_buyer text, of_key text, of_sku text, units integer,
    OUT outcome text, OUT order_id uuid
) LANGUAGE plpgsql AS $$
BEGIN
    SELECT id INTO order_id FROM orders WHERE buyer = of_buyer AND sale = of_sale AND idem_key = of_key;
    IF FOUND THEN
        outcome := 'known';
        RETURN;
    END IF;
    -- Without a lock: once it is sold out nobody has to wait to be told.
    PERFORM FROM stock WHERE sale = of_sale AND sku = of_sku AND sold + units <= allotted;
    IF NOT FOUND THEN
        outcome := 'sold-out';
        RETURN;
    END IF;
    INSERT INTO orders (id, sale, buyer, idem_key) VALUES (new_id, of_sale, of_buyer, of_key)
    ON CONFLICT (buyer, sale, idem_key) DO NOTHING;
    IF NOT FOUND THEN
        SELECT id INTO order_id FROM orders WHERE buyer = of_buyer AND sale = of_sale AND idem_key = of_key;
        outcome := 'known';
        RETURN;
    END IF;
    INSERT INTO order_lines (order_id, sku, quantity, unit_price) VALUES (new_id, of_sku, units, 1999);
    UPDATE stock SET sold = sold + units WHERE sale = of_sale AND sku = of_sku AND sold + units <= allotted;
    IF NOT FOUND THEN
        DELETE FROM order_lines l WHERE l.order_id = new_id;
        DELETE FROM orders WHERE id = new_id;
        outcome := 'sold-out';
        RETURN;
    END IF;
    outcome := 'new';
    order_id := new_id;
END
$$;
