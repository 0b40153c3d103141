-- The items of a new sale. Their prices are fixed here: a product that changes later changes no sale.
-- Fewer rows than SKUs means that a product is missing.
-- $1: sale; $2..$5: arrays of sku, price, currency, per_buyer_limit, in the order of positions.
INSERT INTO sale_items (sale_id, sku, position, price, currency, per_buyer_limit)
SELECT $1,
       product.sku,
       item.position,
       coalesce(item.price, product.price),
       coalesce(item.currency, product.currency),
       item.per_buyer_limit
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::int[])
    WITH ORDINALITY AS item (sku, price, currency, per_buyer_limit, position)
JOIN products AS product ON product.sku = item.sku
ORDER BY item.position
