-- The items of a sale with what a buyer is shown of each, by position.
-- $1: sale.
SELECT item.sku, item.position, item.price, item.currency, item.per_buyer_limit,
       product.name, product.description, product.image_url
FROM sale_items AS item
JOIN products AS product USING (sku)
WHERE item.sale_id = $1
ORDER BY item.position
