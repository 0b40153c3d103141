-- The endpoints by id, with what waits for each and what was given up.
SELECT p.id, p.url, p.event_types, p.created_at, p.disabled_at,
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = p.id AND d.state = 'waiting'),
       (SELECT count(*) FROM webhook_deliveries d WHERE d.endpoint_id = p.id AND d.state = 'dead')
FROM webhook_endpoints p
ORDER BY p.id
