-- What the orders of a batch need to know of these items, by their number from 1: their price, and whether the sale has its
-- orders wait for a payment.
-- $1 sales  $2 SKUs
SELECT w.number, i.price, s.hold_s IS NOT NULL
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (sale_id, sku, number)
JOIN sale_items i ON i.sale_id = w.sale_id AND i.sku = w.sku
JOIN sales s ON s.id = i.sale_id
