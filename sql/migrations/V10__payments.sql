-- How orders are paid for. ARCHITECTURE.md, "Payment".

-- One for each order that was persisted as pending, written with it. Not a column of orders: it changes several times, and
-- orders of sales that ask for no payment have nothing to do with it.
CREATE TABLE payments (
    order_id   uuid        PRIMARY KEY,                                  -- no foreign key: they are written together
    state      text        NOT NULL CHECK (state IN
                   ('due', 'awaited', 'unknown', 'paid', 'declined', 'late', 'moved', 'refund_due', 'refunded', 'void')),
    -- Not before. While somebody works on it: when that one counts as lost. Null: only something heard moves it.
    next_at    timestamptz,
    attempts   integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),     -- since the state is this one
    -- The last request to charge was sent then, or was about to be.
    charged_at timestamptz,
    amount     bigint CHECK (amount >= 0),                               -- that the gateway took, in minor units
    currency   text,
    reference  text,                                                     -- the gateway's own name for the charge
    last_error text,
    -- Of money that came too late and buys another order now: that order. Of that order: the one under which the gateway
    -- knows the charge.
    moved_to   uuid,
    paid_as    uuid,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((state = 'moved') = (moved_to IS NOT NULL))
);
-- By state, so that those which only a gateway can answer cost nothing where there is none.
CREATE INDEX payments_due ON payments (state, next_at) WHERE next_at IS NOT NULL;

-- Webhooks of the gateway that were taken, so that a captured one cannot be sent again. As long as their time would be
-- accepted.
CREATE TABLE payment_webhooks (
    id          text        NOT NULL,
    sent_at     bigint      NOT NULL,                                    -- seconds since the Unix epoch, signed
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, sent_at)
);
CREATE INDEX payment_webhooks_received ON payment_webhooks (received_at);

INSERT INTO payments (order_id, state, next_at)
SELECT o.id,
       CASE WHEN o.refund_due_at IS NOT NULL THEN 'refund_due' WHEN s.payment = 'checkout' THEN 'awaited' ELSE 'due' END,
       CASE WHEN o.refund_due_at IS NOT NULL OR s.payment = 'gateway' THEN now() END
FROM orders o JOIN sales s ON s.id = o.sale_id
WHERE o.state = 'pending' OR o.refund_due_at IS NOT NULL;
-- payments_due serves whoever pays back.
DROP INDEX orders_to_refund;

-- Kinds of incidents are listed in docs/RUNBOOK.md, and more of them come.
ALTER TABLE incidents
    DROP CONSTRAINT incidents_kind_check,
    ADD CONSTRAINT incidents_kind_check CHECK (kind ~ '^[a-z]+(_[a-z]+)*$');
