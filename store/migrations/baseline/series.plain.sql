-- Readings and events as native range partitions, which store/database/partitions.py makes. There
-- is no default partition: a row without a partition is a fault of ours, and an error is better
-- than a slow catch-all.

CREATE TABLE readings (
    at       timestamptz      NOT NULL,
    point_id integer          NOT NULL,
    value    double precision NOT NULL,
    late_s   integer,
    PRIMARY KEY (at, point_id)
) PARTITION BY RANGE (at);
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
) PARTITION BY RANGE (at);
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
