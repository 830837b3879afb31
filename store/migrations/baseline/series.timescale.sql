-- The same two tables as hypertables, with the Apache part of TimescaleDB only.
-- What needs its community licence stands in columnstore.timescale-community.sql.

CREATE TABLE readings (
    at       timestamptz      NOT NULL,
    point_id integer          NOT NULL,
    value    double precision NOT NULL,
    late_s   integer,
    PRIMARY KEY (at, point_id)
);
SELECT create_hypertable(
    'readings',
    by_range('at', INTERVAL '7 days'),
    create_default_indexes => false
);

CREATE TABLE events (
    at          timestamptz NOT NULL,
    device_id   integer     NOT NULL,
    event_id    text        NOT NULL,
    kind        text        NOT NULL,
    data        jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (at, device_id, event_id)
);
SELECT create_hypertable(
    'events',
    by_range('at', INTERVAL '30 days'),
    create_default_indexes => false
);
CREATE INDEX events_identity ON events (device_id, event_id);
CREATE INDEX events_device_at ON events (device_id, at);
