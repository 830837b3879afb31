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
COMMENT ON TABLE readings IS
    'Values of points at instants, as the devices measured them. Registers are cumulative.';
COMMENT ON COLUMN readings.at IS 'Instant of measurement, by the device.';
COMMENT ON COLUMN readings.point_id IS 'Point that was measured (points.id).';
COMMENT ON COLUMN readings.value IS 'The value, in the unit that ends the point''s name.';
COMMENT ON COLUMN readings.late_s IS
    'Seconds from the measurement to its arrival; NULL where it came as it was taken.';

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
COMMENT ON TABLE events IS 'What devices reported to have happened.';
COMMENT ON COLUMN events.at IS 'Instant of the event, by the device.';
COMMENT ON COLUMN events.device_id IS 'Device that reported it (devices.id).';
COMMENT ON COLUMN events.event_id IS 'The device''s own number of the event.';
COMMENT ON COLUMN events.kind IS
    'Kind in the words of the wire contract: passage, plate, hazard, device or command.';
COMMENT ON COLUMN events.data IS 'Fields of the event, by kind.';
COMMENT ON COLUMN events.recorded_at IS 'Instant at which it was stored.';
