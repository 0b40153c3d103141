-- Marks payments as worked on: nobody else takes them before the time is over. What is about to be charged counts as
-- unknown from here on, so that whoever finds it after a crash asks the gateway first.
-- $1 orders  $2 which of them are about to be charged  $3 seconds
UPDATE payments p
SET state = CASE WHEN t.charges THEN 'unknown' ELSE p.state END,
    charged_at = CASE WHEN t.charges THEN clock_timestamp() ELSE p.charged_at END,
    next_at = clock_timestamp() + make_interval(secs => $3),
    attempts = p.attempts + 1
FROM unnest($1::uuid[], $2::boolean[]) AS t (id, charges)
WHERE p.order_id = t.id
