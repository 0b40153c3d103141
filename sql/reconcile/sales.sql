-- The sales that a partition of Redis holds.
-- $1 partition   $2 one sale, or NULL for all   $3 at most
SELECT p.sale_id
FROM sale_publications p
JOIN sales s ON s.id = p.sale_id
WHERE p.partition = $1 AND p.version > 0 AND s.retired_at IS NULL AND ($2::text IS NULL OR s.id = $2)
ORDER BY p.sale_id
LIMIT $3
