-- The same two tables as hypertables. Everything below the tables themselves is the extension's Apache part; what
-- needs its community licence (columnstore, continuous aggregates, policies) is in 0005 and applied where it is there.
CREATE TABLE readings (
    at       timestamptz      NOT NULL,
    point_id integer          NOT NULL,
    value    double precision NOT NULL,
    PRIMARY KEY (at, point_id)
);
SELECT create_hypertable('readings', by_range('at', INTERVAL '7 days'), create_default_indexes => false);

CREATE TABLE events (
    at          timestamptz NOT NULL,
    device_id   integer     NOT NULL,
    event_id    text        NOT NULL,
    kind        text        NOT NULL,
    data        jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (at, device_id, event_id)
);
SELECT create_hypertable('events', by_range('at', INTERVAL '30 days'), create_default_indexes => false);
CREATE INDEX events_identity ON events (device_id, event_id);
