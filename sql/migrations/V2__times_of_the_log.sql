-- Times of orders and of changes of stock are those of their log entries, not of the moment at which they were
-- persisted: so an entry that is persisted a second time, into an older database, gives the very same row.
-- Generated, so that a row cannot contradict its id.

-- The first 48 bits of an order's id are the milliseconds of its log entry.
ALTER TABLE orders DROP COLUMN persisted_at;
ALTER TABLE orders ADD COLUMN accepted_at timestamptz NOT NULL GENERATED ALWAYS AS (
    to_timestamp(('x' || encode(substring(uuid_send(id) for 6), 'hex'))::bit(48)::bigint / 1000.0::float8)
) STORED;

ALTER TABLE stock_ledger DROP COLUMN written_at;
ALTER TABLE stock_ledger ADD COLUMN written_at timestamptz NOT NULL GENERATED ALWAYS AS (
    to_timestamp(entry_ms / 1000.0::float8)
) STORED;

-- An opening sums what was allotted: without reading every return there ever was.
CREATE INDEX stock_ledger_allotted ON stock_ledger (partition, sale_id, sku) INCLUDE (delta)
    WHERE cause NOT LIKE 'return:%';
