-- A batch of orders of a thousand SKUs updates a thousand rows, twenty times a second, and what it leaves behind can be cleared
-- only once no transaction in flight may still look at it. With half of each page free the rows moved from page to page, and the
-- gate read ever more pages; a row for each item is little enough to give it room for ten versions.
ALTER TABLE sale_stock SET (fillfactor = 10);
