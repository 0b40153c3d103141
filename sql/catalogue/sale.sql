-- One sale, and the database's clock cut to milliseconds, by which an operator's "now" is judged.
-- $1: sale.
SELECT id, name, opens_at, closes_at, control, payment, version, created_at, retired_at,
       hold_s, buyer_cancel,
       date_trunc('milliseconds', clock_timestamp())
FROM sales
WHERE id = $1
