-- One page of sales by id, with the sums that a list shows. Columns as in sale.sql, then items, allotted, sold.
-- $1: the last id of the page before, NULL for the first; $2: rows at most;
-- $3: also those that are retired.
SELECT sale.id, sale.name, sale.opens_at, sale.closes_at, sale.control, sale.payment,
       sale.version, sale.created_at, sale.retired_at, sale.hold_s, sale.buyer_cancel,
       (SELECT count(*) FROM sale_items AS item WHERE item.sale_id = sale.id),
       stock.allotted,
       stock.sold
FROM sales AS sale
CROSS JOIN LATERAL (
    SELECT coalesce(sum(allotted), 0)::bigint AS allotted, coalesce(sum(sold), 0)::bigint AS sold
    FROM sale_stock
    WHERE sale_id = sale.id
) AS stock
WHERE ($1::text IS NULL OR sale.id > $1) AND ($3 OR sale.retired_at IS NULL)
ORDER BY sale.id
LIMIT $2
