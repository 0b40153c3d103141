-- The reconciled source of truth. Words and promises: ARCHITECTURE.md.
-- Identifiers compare bytewise (COLLATE "C"): they are ASCII, and a keyset page must not depend on a locale.

-- ---------------------------------------------------------------- catalogue

CREATE TABLE products (
    sku         text COLLATE "C" PRIMARY KEY CHECK (sku ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    name        text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    description text        NOT NULL DEFAULT '' CHECK (length(description) <= 10000),
    price       bigint      NOT NULL CHECK (price >= 0),                 -- minor units of the currency
    currency    text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),    -- ISO 4217
    image_url   text        CHECK (length(image_url) <= 2000),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sales (
    id         text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    name       text        NOT NULL CHECK (name <> '' AND length(name) <= 200),
    opens_at   timestamptz NOT NULL,
    closes_at  timestamptz NOT NULL,
    -- What the operator says; inside `scheduled` the window decides. `closed` is terminal.
    control    text        NOT NULL DEFAULT 'scheduled' CHECK (control IN ('scheduled', 'paused', 'closed')),
    payment    text        NOT NULL DEFAULT 'none' CHECK (payment IN ('none')),
    -- Rises with every change; a partition of Redis holds the version it was last told.
    version    bigint      NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Set once the sale's Redis keys may be gone: from here Postgres alone answers for its orders.
    retired_at timestamptz,
    CHECK (closes_at > opens_at)
);

CREATE TABLE sale_items (
    sale_id         text COLLATE "C" NOT NULL REFERENCES sales (id),
    sku             text COLLATE "C" NOT NULL REFERENCES products (sku),
    position        smallint NOT NULL CHECK (position > 0),
    price           bigint   NOT NULL CHECK (price >= 0),                -- minor units; fixed for the sale's life
    currency        text     NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    per_buyer_limit integer  CHECK (per_buyer_limit > 0),                -- NULL: no limit on units
    PRIMARY KEY (sale_id, sku),
    UNIQUE (sale_id, position)
);

-- The gate and the aggregate: `sold` counts the units of active (not cancelled) orders.
CREATE TABLE sale_stock (
    sale_id   text COLLATE "C" NOT NULL,
    sku       text COLLATE "C" NOT NULL,
    partition smallint NOT NULL CHECK (partition BETWEEN 0 AND 255),
    allotted  bigint   NOT NULL CHECK (allotted >= 0),
    sold      bigint   NOT NULL DEFAULT 0 CHECK (sold >= 0),
    PRIMARY KEY (sale_id, sku, partition),
    FOREIGN KEY (sale_id, sku) REFERENCES sale_items (sale_id, sku),
    CONSTRAINT never_oversold CHECK (sold <= allotted)
) WITH (fillfactor = 50);                                                -- HOT updates: the hottest rows we have

-- Which version of a sale each partition of Redis was last told; and, once it is long over, how far the partition
-- is in forgetting it: all its orders are here, its keys are removed.
CREATE TABLE sale_publications (
    sale_id    text COLLATE "C" NOT NULL REFERENCES sales (id),
    partition  smallint NOT NULL CHECK (partition BETWEEN 0 AND 255),
    version    bigint   NOT NULL DEFAULT 0 CHECK (version >= 0),
    drained_at timestamptz,
    removed_at timestamptz CHECK (removed_at IS NULL OR drained_at IS NOT NULL),
    PRIMARY KEY (sale_id, partition)
);

-- ---------------------------------------------------------------- partitions

-- One row per partition, made by the first start; their number is fixed while sales exist.
CREATE TABLE partitions (
    partition      smallint    PRIMARY KEY CHECK (partition BETWEEN 0 AND 255),
    epoch          bigint      NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    -- The persisted watermark: every log entry at or below it is in this database.
    watermark_ms   bigint      NOT NULL DEFAULT 0 CHECK (watermark_ms >= 0),
    watermark_seq  bigint      NOT NULL DEFAULT 0 CHECK (watermark_seq >= 0),
    -- The random part of that entry: two histories may share a position, never this.
    watermark_mark text        NOT NULL DEFAULT '',
    opened_at      timestamptz
) WITH (fillfactor = 50);

-- ---------------------------------------------------------------- orders

CREATE TABLE orders (
    id            uuid        PRIMARY KEY,                               -- ULID: address in the log + 40 random bits
    sale_id       text COLLATE "C" NOT NULL,
    partition     smallint    NOT NULL CHECK (partition BETWEEN 0 AND 255),
    buyer         text COLLATE "C" NOT NULL,
    idem_key      text COLLATE "C" NOT NULL,
    fingerprint   bigint      NOT NULL,                                  -- of the request body, for 422
    state         text        NOT NULL CHECK (state IN ('pending', 'confirmed', 'cancelled')),
    cancel_reason text        CHECK (cancel_reason IN
                                  ('declined', 'expired', 'buyer', 'operator', 'over_allotment', 'duplicate')),
    persisted_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((state = 'cancelled') = (cancel_reason IS NOT NULL))
);

-- Promise 3, once: one order for each (sale, buyer, key), for ever. The loser of a rewound Redis is kept
-- as cancelled (duplicate), outside the rule. Buyer first: the same index serves a buyer's own orders.
CREATE UNIQUE INDEX orders_once ON orders (buyer, sale_id, idem_key)
    WHERE cancel_reason IS DISTINCT FROM 'duplicate';

-- No foreign keys here: one statement writes an order with its lines and joins them to sale_items,
-- so a check per row would pay twice on the hottest path.
CREATE TABLE order_lines (
    order_id   uuid     NOT NULL,
    sku        text COLLATE "C" NOT NULL,
    quantity   integer  NOT NULL CHECK (quantity > 0),
    unit_price bigint   NOT NULL CHECK (unit_price >= 0),
    -- The gate refused this line: its decrement in Redis removed a unit that never existed.
    refused    boolean  NOT NULL DEFAULT false,
    PRIMARY KEY (order_id, sku)
);

-- ---------------------------------------------------------------- stock

-- Changes of stock that are decided here and still have to reach Redis and its log. `cause` is what makes
-- each of them happen once: `allotment:<sale>:<partition>`, `return:<order>`.
CREATE TABLE stock_intents (
    cause      text COLLATE "C" PRIMARY KEY,
    sequence   bigint GENERATED ALWAYS AS IDENTITY,
    kind       text        NOT NULL CHECK (kind IN ('allotment', 'return')),
    sale_id    text COLLATE "C" NOT NULL REFERENCES sales (id),
    partition  smallint    NOT NULL CHECK (partition BETWEEN 0 AND 255),
    order_id   uuid,
    lines      jsonb       NOT NULL CHECK (jsonb_typeof(lines) = 'object'), -- {"sku": units}, each > 0
    reason     text        NOT NULL,
    actor      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    applied_at timestamptz,                                              -- set when its log entry is persisted
    CHECK ((kind = 'return') = (order_id IS NOT NULL))
);
CREATE INDEX stock_intents_open ON stock_intents (partition, sequence) WHERE applied_at IS NULL;

-- Every change of Redis stock that is not an order, as the log tells it.
-- Redis stock at L = sum(delta up to L) - sum(order units up to L).
CREATE TABLE stock_ledger (
    partition  smallint    NOT NULL CHECK (partition BETWEEN 0 AND 255),
    entry_ms   bigint      NOT NULL,
    entry_seq  bigint      NOT NULL,
    sku        text COLLATE "C" NOT NULL,
    sale_id    text COLLATE "C" NOT NULL,
    delta      bigint      NOT NULL CHECK (delta <> 0),
    cause      text COLLATE "C" NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, entry_ms, entry_seq, sku),
    UNIQUE (cause, sku)
);
CREATE INDEX stock_ledger_by_sale ON stock_ledger (sale_id, partition, sku);

-- ---------------------------------------------------------------- what went wrong

-- Entries that cannot be persisted as they stand. Shown until someone ends them; their units stay counted.
CREATE TABLE dead_letters (
    partition   smallint    NOT NULL CHECK (partition BETWEEN 0 AND 255),
    entry_ms    bigint      NOT NULL,
    entry_seq   bigint      NOT NULL,
    fields      bytea[]     NOT NULL,                                    -- field, value, field, value: as in the log
    sale_id     text COLLATE "C",                                        -- known where the entry could be read
    buyer       text COLLATE "C",
    lines       jsonb,                                                   -- {"sku": units}, as in stock_intents
    error       text        NOT NULL,
    found_at    timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz,
    ended_by    text,
    outcome     text        CHECK (outcome IN ('retried', 'dropped')),
    PRIMARY KEY (partition, entry_ms, entry_seq),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX dead_letters_open ON dead_letters (partition, entry_ms, entry_seq) WHERE ended_at IS NULL;

-- What an operator has to know although the engine went on: a refused gate, an entry that vanished.
CREATE TABLE incidents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('over_allotment', 'entry_vanished', 'duplicate_order')),
    partition   smallint    NOT NULL,
    subject     text        NOT NULL,                                    -- order id or log entry id
    detail      text        NOT NULL,
    happened_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, subject)
);
