-- Readings and events as native range partitions, which store/database/partitions.py makes.
-- There is no default partition: a row without a partition is a fault of ours, and an error is better than a slow catch-all.

CREATE TABLE readings (
    at       timestamptz      NOT NULL,
    point_id integer          NOT NULL,
    value    double precision NOT NULL,
    late_s   integer,
    PRIMARY KEY (at, point_id)
) PARTITION BY RANGE (at);

CREATE TABLE events (
    at          timestamptz NOT NULL,
    device_id   integer     NOT NULL,
    event_id    text        NOT NULL,
    kind        text        NOT NULL,
    data        jsonb       NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (at, device_id, event_id)
) PARTITION BY RANGE (at);
CREATE INDEX events_identity ON events (device_id, event_id);
CREATE INDEX events_device_at ON events (device_id, at);
