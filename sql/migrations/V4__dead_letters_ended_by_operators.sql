-- Why a dead letter was dropped, and how often someone tried to persist it again.
ALTER TABLE dead_letters
    ADD COLUMN reason   text,
    ADD COLUMN retries  integer NOT NULL DEFAULT 0 CHECK (retries >= 0),
    ADD COLUMN tried_at timestamptz,
    ADD CONSTRAINT dropped_with_reason CHECK ((outcome = 'dropped') IS NOT TRUE OR reason <> '' AND ended_by <> '');
