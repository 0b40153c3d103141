-- Ends a lowering for which Redis had too few units. Answers with the number of intents: 0 where its log entry was faster.
-- $1 cause
UPDATE stock_intents SET applied_at = now(), ended_as = 'refused'
WHERE cause = $1 AND kind = 'lower' AND applied_at IS NULL
