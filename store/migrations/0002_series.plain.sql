-- Readings and events as native range partitions, made by our own worker (store/database/partitions.py). There is no default
-- partition: a row with no partition is a bug of ours, and an error is better than a slow catch-all.
CREATE TABLE readings (
    at       timestamptz      NOT NULL,
    point_id integer          NOT NULL,
    value    double precision NOT NULL,
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
