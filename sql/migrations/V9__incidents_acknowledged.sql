-- Incidents are looked at by somebody, once: who, when, and what came of it.
ALTER TABLE incidents
    ADD COLUMN acknowledged_at timestamptz,
    ADD COLUMN acknowledged_by text,
    ADD COLUMN reason          text,
    ADD CONSTRAINT acknowledged_with_reason CHECK (
        (acknowledged_at IS NULL AND acknowledged_by IS NULL AND reason IS NULL)
        OR (acknowledged_at IS NOT NULL AND acknowledged_by <> '' AND reason <> ''));
CREATE INDEX incidents_open ON incidents (partition) WHERE acknowledged_at IS NULL;
