-- What the orders of a batch need to know of these items: their price, and whether the sale has its orders wait for a payment.
-- $1 sales  $2 SKUs
SELECT i.sale_id, i.sku, i.price, s.hold_s IS NOT NULL
FROM unnest($1::text[], $2::text[]) AS w (sale_id, sku)
JOIN sale_items i ON i.sale_id = w.sale_id AND i.sku = w.sku
JOIN sales s ON s.id = i.sale_id
