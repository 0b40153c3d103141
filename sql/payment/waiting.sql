-- Payments that somebody has to look at again, by state, and for how long the oldest stands as it does, in seconds. Those of
-- which only the end of their hold is waited for are none, and declined ones are asked for once more only to be sure.
SELECT state, count(*), extract(epoch FROM clock_timestamp() - min(changed_at))::float8
FROM payments
WHERE next_at IS NOT NULL AND state IN ('due', 'unknown', 'paid', 'late', 'refund_due')
GROUP BY state
