-- Orders that wait for their payment, and what becomes of them. ARCHITECTURE.md, "The life of an order".

-- ---------------------------------------------------------------- sales

ALTER TABLE sales
    DROP CONSTRAINT sales_payment_check,
    -- none: an order is confirmed as it is persisted. gateway: once a payment gateway has taken the money.
    -- checkout: the buyer pays elsewhere, and only a webhook confirms.
    ADD CONSTRAINT sales_payment_check CHECK (payment IN ('none', 'gateway', 'checkout')),
    -- Seconds for which a pending order holds its units, from when it was accepted.
    ADD COLUMN hold_s integer CHECK (hold_s BETWEEN 1 AND 2592000),
    ADD CONSTRAINT held_exactly_where_paid CHECK ((payment = 'none') = (hold_s IS NULL)),
    -- Until when a buyer may cancel. pending: while the order waits for its payment. until_close: also a confirmed
    -- one, while the sale has not closed. An operator may always.
    ADD COLUMN buyer_cancel text NOT NULL DEFAULT 'pending' CHECK (buyer_cancel IN ('never', 'pending', 'until_close'));

-- ---------------------------------------------------------------- orders

ALTER TABLE orders
    -- Set exactly for orders that were persisted as pending, and kept when they are not any more.
    ADD COLUMN expires_at timestamptz,
    -- Set in the transaction that cancels a confirmed order of a sale with payment: the buyer's money is to go back.
    ADD COLUMN refund_due_at timestamptz,
    ADD CONSTRAINT pending_expires CHECK (state <> 'pending' OR expires_at IS NOT NULL),
    ADD CONSTRAINT only_pending_expires CHECK (cancel_reason NOT IN ('declined', 'expired') OR expires_at IS NOT NULL),
    ADD CONSTRAINT found_by_persisting CHECK (cancel_reason NOT IN ('over_allotment', 'duplicate') OR expires_at IS NULL),
    ADD CONSTRAINT only_paid_is_refunded CHECK (refund_due_at IS NULL OR state = 'cancelled' AND expires_at IS NOT NULL);

-- For the sweepers.
CREATE INDEX orders_to_expire ON orders (expires_at) WHERE state = 'pending';
-- For whoever pays back.
CREATE INDEX orders_to_refund ON orders (refund_due_at) WHERE refund_due_at IS NOT NULL;

-- Every step of an order after it was persisted. The persisting itself has no row: the order's own columns tell of it,
-- and the hot path pays nothing.
CREATE TABLE order_events (
    order_id uuid        NOT NULL,
    sequence integer     NOT NULL CHECK (sequence > 0),                  -- without a gap
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The order's after this step; the same as before where the step was none from one state to another.
    state    text        NOT NULL CHECK (state IN ('pending', 'confirmed', 'cancelled')),
    actor    text        NOT NULL CHECK (actor <> ''),
    reason   text        NOT NULL CHECK (reason <> ''),
    PRIMARY KEY (order_id, sequence)
);

-- ---------------------------------------------------------------- stock

-- `adjust:<sale>:<partition>:<key>` is the cause of an operator's change of an allotment. A raise counts in `allotted`
-- at once, since Postgres must never have fewer units than Redis; a lowering when its log entry is persisted.
-- `confirm:<order>` changes no stock: the log is told, so that a restored database learns of it.
ALTER TABLE stock_intents
    DROP CONSTRAINT stock_intents_kind_check,
    ADD CONSTRAINT stock_intents_kind_check CHECK (kind IN ('allotment', 'return', 'raise', 'lower', 'confirmation')),
    DROP CONSTRAINT stock_intents_check,
    ADD CONSTRAINT of_an_order CHECK ((kind IN ('return', 'confirmation')) = (order_id IS NOT NULL)),
    -- How an intent ended that no log entry has ended (applied_at tells when). refused: Redis had fewer units than were
    -- to go. void: the sale is retired, its units go nowhere.
    ADD COLUMN ended_as text CHECK (ended_as IN ('refused', 'void')),
    ADD CONSTRAINT ended_is_not_open CHECK (ended_as IS NULL OR applied_at IS NOT NULL);

-- ---------------------------------------------------------------- partitions

-- The Postgres at which the log was drained to its end by an opening (see postgres_identity()): this process has all
-- that was persisted anywhere before. No order moves on at one that may have come back with older data.
ALTER TABLE partitions ADD COLUMN drained_postgres text;
