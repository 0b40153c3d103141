-- Whether this database has this version of a sale already, and knows that the partition was told: the ordinary case,
-- since it is this database that decided it. And whether it has the sale at all.
-- $1 sale  $2 version  $3 partition
SELECT s.version >= $2 AND p.version >= $2
FROM sales s JOIN sale_publications p ON p.sale_id = s.id AND p.partition = $3
WHERE s.id = $1
