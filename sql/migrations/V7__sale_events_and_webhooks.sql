-- What operators did to sales, with who and why; and what is told to the outside.

CREATE TABLE sale_events (
    sale_id text COLLATE "C" NOT NULL REFERENCES sales (id),
    version bigint      NOT NULL,                                        -- of the sale, after it
    at      timestamptz NOT NULL DEFAULT now(),
    action  text        NOT NULL CHECK (action IN ('open', 'pause', 'resume', 'close')),
    actor   text        NOT NULL,
    reason  text        CHECK (length(reason) <= 500),
    PRIMARY KEY (sale_id, version)
);

-- ---------------------------------------------------------------- webhooks

-- Whom an operator wants told of what.
CREATE TABLE webhook_endpoints (
    id           text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    url          text        NOT NULL CHECK (length(url) <= 2000),
    event_types  text[]      NOT NULL CHECK (cardinality(event_types) BETWEEN 1 AND 50),
    secret       text        NOT NULL CHECK (secret LIKE 'whsec\_%'),    -- it signs, so it must be readable
    created_at   timestamptz NOT NULL DEFAULT now(),
    disabled_at  timestamptz,                                            -- it answered 410: it wants no more
    CHECK (url ~ '^https?://')
);

-- The outbox: what happened, written in the transaction in which it did, and only if an endpoint wants it.
CREATE TABLE webhook_events (
    -- Made from what happened: found again by a replay, or by two processes, it is the same event.
    id       text COLLATE "C" PRIMARY KEY,
    type     text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    sale_id  text COLLATE "C",
    order_id uuid,
    detail   jsonb       NOT NULL DEFAULT '{}'
);

-- One event for one endpoint. No foreign keys: an endpoint that is removed at that moment must not make a transaction
-- fail that persists orders. What is left over is pruned.
CREATE TABLE webhook_deliveries (
    endpoint_id text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    state       text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    queued_at   timestamptz NOT NULL DEFAULT now(),                      -- again by a redrive
    attempts    integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    -- Not before. While an attempt is under way: when it counts as lost.
    next_at     timestamptz NOT NULL DEFAULT now(),
    last_error  text,
    ended_at    timestamptz,
    PRIMARY KEY (endpoint_id, event_id),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE state <> 'waiting';
CREATE INDEX webhook_deliveries_of_event ON webhook_deliveries (event_id);

-- Writes events, and a delivery of each to every endpoint that wants its type. What nobody wants is not written.
-- `keys` tell one happening of a type from another.
CREATE FUNCTION webhook_tell(types text[], sales text[], orders uuid[], details jsonb[], keys text[])
RETURNS void LANGUAGE sql AS $$
    WITH happened AS (
        SELECT 'evt_' || left(encode(sha256(convert_to(t.type || ' ' || t.key, 'UTF8')), 'hex'), 32) AS id, t.*
        FROM unnest(types, sales, orders, details, keys) AS t (type, sale_id, order_id, detail, key)
        WHERE EXISTS (SELECT FROM webhook_endpoints p WHERE p.disabled_at IS NULL AND t.type = ANY (p.event_types))
    ), new_events AS (
        INSERT INTO webhook_events (id, type, sale_id, order_id, detail)
        SELECT id, type, sale_id, order_id, detail FROM happened ORDER BY id
        ON CONFLICT DO NOTHING
        RETURNING id, type
    )
    INSERT INTO webhook_deliveries (endpoint_id, event_id)
    SELECT p.id, e.id FROM new_events e
    JOIN webhook_endpoints p ON p.disabled_at IS NULL AND e.type = ANY (p.event_types)
    ON CONFLICT DO NOTHING
$$;

-- Every way to a new state of an order passes here: persisting, replay, dead letters, and whatever moves orders later.
CREATE FUNCTION webhook_order_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The common case, and all that it costs: nobody wants to know.
    IF NOT EXISTS (SELECT FROM webhook_endpoints
                   WHERE disabled_at IS NULL
                     AND event_types && ARRAY['order.pending', 'order.confirmed', 'order.cancelled']) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        PERFORM webhook_tell(array_agg('order.' || c.state), array_agg(c.sale_id), array_agg(c.id),
                             array_agg(jsonb_strip_nulls(jsonb_build_object('cancel_reason', c.cancel_reason))),
                             array_agg(c.id::text))
        FROM changed c;
    ELSE
        PERFORM webhook_tell(array_agg('order.' || c.state), array_agg(c.sale_id), array_agg(c.id),
                             array_agg(jsonb_strip_nulls(jsonb_build_object('cancel_reason', c.cancel_reason))),
                             array_agg(c.id::text))
        FROM changed c JOIN before b ON b.id = c.id AND b.state <> c.state;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER webhook_new_orders AFTER INSERT ON orders
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION webhook_order_changes();
CREATE TRIGGER webhook_moved_orders AFTER UPDATE ON orders
    REFERENCING OLD TABLE AS before NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION webhook_order_changes();

-- What operators do to a sale. That it opens, closes or sells out by itself is no change of a row: see
-- sql/webhooks/tell_sales.sql.
CREATE FUNCTION webhook_sale_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM webhook_tell(
        ARRAY[CASE NEW.control WHEN 'scheduled' THEN 'sale.resumed' ELSE 'sale.' || NEW.control END],
        ARRAY[NEW.id::text], ARRAY[NULL::uuid], ARRAY['{}'::jsonb],
        -- A sale closes once, whoever or whatever closes it.
        ARRAY[CASE NEW.control WHEN 'closed' THEN NEW.id ELSE NEW.id || ' ' || NEW.version END]);
    RETURN NULL;
END $$;

CREATE TRIGGER webhook_moved_sales AFTER UPDATE OF control ON sales
    FOR EACH ROW WHEN (OLD.control <> NEW.control) EXECUTE FUNCTION webhook_sale_changes();
