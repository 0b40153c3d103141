-- Payments that somebody has to look at again, by state, and for how long the oldest stands as it does, in seconds.
-- $1 the states in which a payment waits for somebody: not those of which only the end of their hold is waited for, nor
--    declined ones, which are asked for once more only to be sure
SELECT state, count(*), extract(epoch FROM clock_timestamp() - min(changed_at))::float8
FROM payments
WHERE next_at IS NOT NULL AND state = ANY ($1)
GROUP BY state
