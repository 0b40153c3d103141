-- What a keeper has to know of the opening before its own, and by what a transaction tells that this Postgres is not
-- the one at which the partition was opened.

-- This process of Postgres, and these very tables: another one after a restart, a promotion, a restored backup (also
-- one that was restored under the running server: tables that are made or filled anew have new numbers).
CREATE FUNCTION postgres_identity() RETURNS text STABLE LANGUAGE sql AS $$
    SELECT concat_ws('-', (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
                     'partitions'::regclass::oid, pg_relation_filenode('partitions'))
$$;

ALTER TABLE partitions
    -- Where the partition was opened last; see postgres_identity().
    ADD COLUMN postgres      text,
    -- The Redis on which it was opened last: it may still be selling while its lease runs.
    ADD COLUMN server_run_id text,
    ADD COLUMN server_replid text,
    ADD COLUMN lease_ms      bigint CHECK (lease_ms > 0),
    ADD COLUMN lease_epoch   bigint,
    -- When the last lease there is over, said by a keeper that ended in order; null while one renews.
    ADD COLUMN lease_ends_at timestamptz;

ALTER TABLE incidents
    DROP CONSTRAINT incidents_kind_check,
    ADD CONSTRAINT incidents_kind_check
        CHECK (kind IN ('over_allotment', 'entry_vanished', 'duplicate_order', 'entries_lost'));
