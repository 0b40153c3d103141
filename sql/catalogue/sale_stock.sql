-- The stock of a sale, by item and partition.
-- $1: sale.
SELECT stock.sku, stock.partition, stock.allotted, stock.sold
FROM sale_stock AS stock
JOIN sale_items AS item USING (sale_id, sku)
WHERE stock.sale_id = $1
ORDER BY item.position, stock.partition
