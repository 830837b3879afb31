-- What needs TimescaleDB's community licence: the columnstore for old readings, and an hourly
-- aggregate for charts. The columnstore is segmented by point, so that one point's history is one
-- scan. Compliance never reads from these.
-- no-transaction
ALTER TABLE readings SET (
    timescaledb.enable_columnstore = true,
    timescaledb.segmentby = 'point_id',
    timescaledb.orderby = 'at DESC'
);
CALL add_columnstore_policy('readings', after => INTERVAL '30 days', if_not_exists => true);
CREATE MATERIALIZED VIEW IF NOT EXISTS readings_hourly
WITH (timescaledb.continuous) AS
SELECT
    time_bucket(INTERVAL '1 hour', at) AS hour,
    point_id,
    first(value, at) AS first_value,
    last(value, at) AS last_value,
    min(value) AS least,
    max(value) AS most,
    count(*) AS samples
FROM readings
GROUP BY hour, point_id
WITH NO DATA;
COMMENT ON VIEW readings_hourly IS
    'Readings by hour and point, for charts. Nothing that compliance rests on reads them.';
COMMENT ON COLUMN readings_hourly.hour IS 'Start of the hour.';
COMMENT ON COLUMN readings_hourly.point_id IS 'Point that was measured (points.id).';
COMMENT ON COLUMN readings_hourly.first_value IS 'First value of the hour.';
COMMENT ON COLUMN readings_hourly.last_value IS 'Last value of the hour.';
COMMENT ON COLUMN readings_hourly.least IS 'Lowest value of the hour.';
COMMENT ON COLUMN readings_hourly.most IS 'Highest value of the hour.';
COMMENT ON COLUMN readings_hourly.samples IS 'Number of readings.';
SELECT add_continuous_aggregate_policy(
    'readings_hourly',
    start_offset => INTERVAL '7 days',
    end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '1 hour',
    if_not_exists => true
);
