-- The tables of every peer: what any shop has, with the same indexes as the engine's own orders and lines.

CREATE TABLE stock (
    sale     text COLLATE "C" NOT NULL,
    sku      text COLLATE "C" NOT NULL,
    allotted bigint NOT NULL,
    sold     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sale, sku),
    CONSTRAINT never_oversold CHECK (sold BETWEEN 0 AND allotted)
) WITH (fillfactor = 50);                                  -- HOT updates: the hottest rows there are

CREATE TABLE orders (
    id         uuid PRIMARY KEY,
    sale       text COLLATE "C" NOT NULL,
    buyer      text COLLATE "C" NOT NULL,
    idem_key   text COLLATE "C" NOT NULL,
    state      text NOT NULL DEFAULT 'confirmed',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (buyer, sale, idem_key)
);

CREATE TABLE order_lines (
    order_id   uuid NOT NULL,
    sku        text COLLATE "C" NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_price bigint NOT NULL,
    PRIMARY KEY (order_id, sku)
);

-- One row for each unit, for the design that takes them with SKIP LOCKED.
CREATE TABLE units (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale     text COLLATE "C" NOT NULL,
    sku      text COLLATE "C" NOT NULL,
    order_id uuid
);
CREATE INDEX units_free ON units (sale, sku, id) WHERE order_id IS NULL;
