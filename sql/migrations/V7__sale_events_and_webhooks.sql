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
