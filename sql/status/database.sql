-- The sales: how many are not retired, how many sell now, and those whose keys Redis holds, the newest first. Deliveries to the
-- outside that were given up.
-- $1 at most
SELECT count(*),
       count(*) FILTER (WHERE control = 'scheduled' AND now() >= opens_at AND now() < closes_at),
       coalesce((SELECT array_agg(id) FROM (
           SELECT id::text FROM sales WHERE retired_at IS NULL ORDER BY created_at DESC LIMIT $1
       ) newest), '{}'),
       (SELECT count(*) FROM webhook_deliveries WHERE state = 'dead')
FROM sales
WHERE retired_at IS NULL
