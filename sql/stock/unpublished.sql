-- Sales of which a partition has an older version than this database, or none, with what its log is to keep of them:
-- all that another database would need to take this sale's orders. What is fixed for a sale's life is told once, to
-- a partition that knows nothing of the sale; later versions say only what can change.
-- $1 partition  $2 at most
SELECT s.id, s.version, s.control, s.opens_at, s.closes_at,
       jsonb_build_object('name', s.name, 'opens_at', s.opens_at, 'closes_at', s.closes_at, 'control', s.control,
                          'payment', s.payment, 'hold_s', s.hold_s, 'buyer_cancel', s.buyer_cancel,
                          'created_at', s.created_at)
       || CASE WHEN p.version > 0 THEN '{}' ELSE jsonb_build_object(
           'products', (SELECT jsonb_agg(to_jsonb(product) ORDER BY product.sku)
                        FROM products product JOIN sale_items i USING (sku) WHERE i.sale_id = s.id),
           'items', (SELECT jsonb_agg(to_jsonb(i) - 'sale_id' ORDER BY i.position)
                     FROM sale_items i WHERE i.sale_id = s.id),
           'allotments', (SELECT jsonb_agg(jsonb_build_object('cause', a.cause, 'partition', a.partition,
                                                              'lines', a.lines, 'reason', a.reason,
                                                              'actor', a.actor, 'created_at', a.created_at)
                                           ORDER BY a.sequence)
                          FROM stock_intents a WHERE a.sale_id = s.id AND a.kind = 'allotment')
       ) END AS definition,
       p.version AS told
FROM sale_publications p JOIN sales s ON s.id = p.sale_id
WHERE p.partition = $1 AND p.version < s.version AND s.retired_at IS NULL
ORDER BY s.id
LIMIT $2
