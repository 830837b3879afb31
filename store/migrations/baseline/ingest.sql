-- What ingest keeps beside the series: progress and gaps, gateways' state, quarantine, tallies,
-- latest values, the leases of its workers, and the two queues that analytics empties.

-- One row per boot of a gateway. The numbers that are stored are one multirange; PostgreSQL's own
-- union merges what several workers received.
CREATE TABLE gateway_progress (
    gateway_id   integer        NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    kind         text           NOT NULL,
    boot         text           NOT NULL,
    received_at  timestamptz    NOT NULL DEFAULT now(),
    received     int8multirange NOT NULL DEFAULT '{}',
    missing      int8multirange GENERATED ALWAYS AS (
                     int8multirange(int8range(1, upper(received))) - received
                 ) STORED,
    gap_since    timestamptz,
    requested_at timestamptz,
    PRIMARY KEY (gateway_id, kind, boot)
);
CREATE INDEX gateway_progress_gaps ON gateway_progress (gap_since) WHERE gap_since IS NOT NULL;
COMMENT ON TABLE gateway_progress IS
    'Message numbers that are stored, one row per boot of a gateway and kind.';
COMMENT ON COLUMN gateway_progress.gateway_id IS 'Gateway that sent them.';
COMMENT ON COLUMN gateway_progress.kind IS 'Kind of message: readings or events.';
COMMENT ON COLUMN gateway_progress.boot IS 'The gateway''s name for its start.';
COMMENT ON COLUMN gateway_progress.received_at IS 'Instant at which a number was last added.';
COMMENT ON COLUMN gateway_progress.received IS 'Numbers that are stored, as ranges.';
COMMENT ON COLUMN gateway_progress.missing IS
    'Numbers below the highest that are not stored, as ranges.';
COMMENT ON COLUMN gateway_progress.gap_since IS
    'Instant since which numbers have been missing; NULL while none is.';
COMMENT ON COLUMN gateway_progress.requested_at IS
    'Instant at which the missing numbers were last asked for; NULL before.';

-- The union, as long as it stays small. Beyond max_ranges only what closes gaps is added
-- (store/ingest/progress.py).
CREATE FUNCTION merge_multirange(existing int8multirange, added int8multirange, max_ranges integer)
RETURNS int8multirange
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN (SELECT count(*) FROM unnest(existing + added)) <= max_ranges
            THEN existing + added
        ELSE existing + (added * int8multirange(int8range(NULL, upper(existing))))
    END
$$;

CREATE FUNCTION set_gap_since() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.gap_since := CASE
        WHEN NEW.received <> int8multirange(int8range(1, upper(NEW.received)))
            THEN coalesce(NEW.gap_since, now())
    END;
    RETURN NEW;
END
$$;
CREATE TRIGGER set_gap_since BEFORE INSERT OR UPDATE OF received ON gateway_progress
    FOR EACH ROW EXECUTE FUNCTION set_gap_since();

CREATE VIEW gaps WITH (security_invoker = true) AS
SELECT
    p.gateway_id,
    p.kind,
    p.boot,
    lower(missing_range) AS first_seq,
    upper(missing_range) - 1 AS last_seq,
    p.gap_since AS noticed_at,
    p.requested_at
FROM gateway_progress p, unnest(p.missing) AS missing_range
WHERE p.gap_since IS NOT NULL;
COMMENT ON VIEW gaps IS
    'Numbers that a gateway used and that are not stored, one row per range. A gap is over when '
    'its range is gone.';
COMMENT ON COLUMN gaps.gateway_id IS 'Gateway that used them.';
COMMENT ON COLUMN gaps.kind IS 'Kind of message: readings or events.';
COMMENT ON COLUMN gaps.boot IS 'The gateway''s name for its start.';
COMMENT ON COLUMN gaps.first_seq IS 'First missing number.';
COMMENT ON COLUMN gaps.last_seq IS 'Last missing number.';
COMMENT ON COLUMN gaps.noticed_at IS 'Instant since which numbers of this boot have been missing.';
COMMENT ON COLUMN gaps.requested_at IS 'Instant at which they were last asked for; NULL before.';

CREATE TABLE gateway_state (
    gateway_id             integer PRIMARY KEY REFERENCES gateways ON DELETE RESTRICT,
    online                 boolean     NOT NULL,
    at                     timestamptz NOT NULL,
    boot                   text,
    clock_offset_ms        integer,
    outbox                 integer,
    best_effort            boolean     NOT NULL DEFAULT false,
    received_at            timestamptz NOT NULL DEFAULT now(),
    lost                   bigint,
    skew_ms                integer,
    credential_conflict_at timestamptz
);
COMMENT ON TABLE gateway_state IS 'Last known condition of each gateway.';
COMMENT ON COLUMN gateway_state.gateway_id IS 'The gateway.';
COMMENT ON COLUMN gateway_state.online IS
    'Whether it is connected, by its own message or its last will.';
COMMENT ON COLUMN gateway_state.at IS 'Instant of that message, by the gateway.';
COMMENT ON COLUMN gateway_state.boot IS
    'The gateway''s name for its start; NULL where it gives none.';
COMMENT ON COLUMN gateway_state.clock_offset_ms IS
    'How far its clock is ahead of the server''s, by the gateway, ms.';
COMMENT ON COLUMN gateway_state.outbox IS 'Messages in its outbox that are not acknowledged.';
COMMENT ON COLUMN gateway_state.best_effort IS
    'True for a gateway that sends without numbers, so that gaps cannot be seen.';
COMMENT ON COLUMN gateway_state.received_at IS
    'Instant at which the server last received its state.';
COMMENT ON COLUMN gateway_state.lost IS
    'Messages that its outbox had to drop, since it was set up.';
COMMENT ON COLUMN gateway_state.skew_ms IS
    'How far its clock is ahead of the server''s, as the server measured it, ms.';
COMMENT ON COLUMN gateway_state.credential_conflict_at IS
    'Instant at which two gateways were last seen to use this gateway''s credential; NULL for '
    'never.';

CREATE TABLE gateway_births (
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    boot       text        NOT NULL,
    at         timestamptz NOT NULL,
    devices    jsonb       NOT NULL,
    PRIMARY KEY (gateway_id, boot)
);
COMMENT ON TABLE gateway_births IS 'What a gateway reported to have behind it, one row per boot.';
COMMENT ON COLUMN gateway_births.gateway_id IS 'The gateway.';
COMMENT ON COLUMN gateway_births.boot IS 'Its name for its start.';
COMMENT ON COLUMN gateway_births.at IS 'Instant of the report, by the gateway.';
COMMENT ON COLUMN gateway_births.devices IS 'List of devices with profile and points.';

CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    topic       text        NOT NULL,
    reason      text        NOT NULL,
    detail      text        NOT NULL,
    payload     bytea       NOT NULL,
    digest      bytea       NOT NULL UNIQUE,
    resolution  text        CHECK (resolution IN ('replayed', 'repaired', 'discarded')),
    resolved_at timestamptz,
    bytes       integer     NOT NULL
);
CREATE INDEX quarantine_open ON quarantine (received_at) WHERE resolution IS NULL;
CREATE INDEX quarantine_open_topic ON quarantine (topic) WHERE resolution IS NULL;
CREATE INDEX quarantine_received ON quarantine (received_at);
COMMENT ON TABLE quarantine IS
    'Messages and items that did not fit, kept for a person to look at. The digest makes a resent '
    'one a duplicate.';
COMMENT ON COLUMN quarantine.id IS 'Row key.';
COMMENT ON COLUMN quarantine.received_at IS 'Instant at which it came.';
COMMENT ON COLUMN quarantine.topic IS 'MQTT topic on which it came.';
COMMENT ON COLUMN quarantine.reason IS 'Reason from the closed list of the wire contract.';
COMMENT ON COLUMN quarantine.detail IS 'What exactly did not fit.';
COMMENT ON COLUMN quarantine.payload IS 'Its bytes; cut where it was too long to keep whole.';
COMMENT ON COLUMN quarantine.digest IS 'SHA-256 of topic and payload.';
COMMENT ON COLUMN quarantine.resolution IS
    'What a person did: replayed, repaired or discarded; NULL while it is open.';
COMMENT ON COLUMN quarantine.resolved_at IS 'Instant of the resolution.';
COMMENT ON COLUMN quarantine.bytes IS 'Whole length, bytes.';

-- Always: received = stored + duplicates + quarantined.
CREATE TABLE ingest_tallies (
    source      text   NOT NULL,
    kind        text   NOT NULL,
    received    bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicates  bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, kind)
);
COMMENT ON TABLE ingest_tallies IS
    'Messages by source and kind. Always: received = stored + duplicates + quarantined.';
COMMENT ON COLUMN ingest_tallies.source IS 'Estate and gateway, as in the topic.';
COMMENT ON COLUMN ingest_tallies.kind IS 'Kind of message: readings, events, state or birth.';
COMMENT ON COLUMN ingest_tallies.received IS 'Items received.';
COMMENT ON COLUMN ingest_tallies.stored IS 'Items stored.';
COMMENT ON COLUMN ingest_tallies.duplicates IS 'Items that were stored already.';
COMMENT ON COLUMN ingest_tallies.quarantined IS 'Items in quarantine.';

CREATE TABLE latest_values (
    point_id integer PRIMARY KEY,
    at       timestamptz      NOT NULL,
    value    double precision NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE latest_values IS
    'Last value of each point by the device''s own clock. Data that come late or again never '
    'replace a newer value.';
COMMENT ON COLUMN latest_values.point_id IS 'The point (points.id).';
COMMENT ON COLUMN latest_values.at IS 'Instant of measurement, by the device.';
COMMENT ON COLUMN latest_values.value IS 'The value, in the unit that ends the point''s name.';

CREATE TABLE ingest_workers (
    name    text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE ingest_workers IS 'Ingest workers that are alive.';
COMMENT ON COLUMN ingest_workers.name IS 'Name of the worker.';
COMMENT ON COLUMN ingest_workers.seen_at IS 'Instant at which it last renewed its leases.';

CREATE TABLE ingest_leases (
    name       text PRIMARY KEY,
    holder     text,
    expires_at timestamptz
);
COMMENT ON TABLE ingest_leases IS
    'Leases of the broker''s sessions among ingest workers: the holder of a lease reads its '
    'session.';
COMMENT ON COLUMN ingest_leases.name IS 'Name of the session.';
COMMENT ON COLUMN ingest_leases.holder IS 'Worker that has the lease; NULL while nobody has.';
COMMENT ON COLUMN ingest_leases.expires_at IS 'Instant at which the lease runs out.';

-- One row per batch and estate. Its three arrays run side by side.
CREATE TABLE dirty_spans (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL,
    devices     integer[]   NOT NULL,
    from_ms     bigint[]    NOT NULL,
    to_ms       bigint[]    NOT NULL,
    received_at timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE INDEX dirty_spans_estate ON dirty_spans (estate_id, received_at, id);
COMMENT ON TABLE dirty_spans IS
    'Spans of devices'' series that changed since the facts were computed, one row per batch and '
    'estate.';
COMMENT ON COLUMN dirty_spans.id IS 'Row key.';
COMMENT ON COLUMN dirty_spans.estate_id IS 'Estate of the devices (estates.id).';
COMMENT ON COLUMN dirty_spans.devices IS
    'Devices whose series changed (devices.id); the three arrays run side by side.';
COMMENT ON COLUMN dirty_spans.from_ms IS 'First instant that changed, ms since 1970, UTC.';
COMMENT ON COLUMN dirty_spans.to_ms IS 'Last instant that changed, ms since 1970, UTC.';
COMMENT ON COLUMN dirty_spans.received_at IS 'Instant at which the batch was received.';

-- A mount that is registered or corrected after its device has sent data makes that past dirty.
CREATE FUNCTION mark_mount_dirty() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    earliest timestamptz := least((SELECT min(at) FROM readings), (SELECT min(at) FROM events));
    first_at timestamptz := greatest(NEW.valid_from, earliest);
    last_at  timestamptz := least(coalesce(NEW.valid_to, now()), now());
BEGIN
    IF earliest IS NOT NULL THEN
        INSERT INTO dirty_spans (estate_id, devices, from_ms, to_ms)
        SELECT
            d.estate_id,
            ARRAY[d.id],
            ARRAY[(extract(epoch FROM first_at) * 1000)::bigint],
            ARRAY[(extract(epoch FROM last_at) * 1000)::bigint]
        FROM devices d
        WHERE d.id = NEW.device_id
          AND first_at <= last_at;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mark_dirty AFTER INSERT OR UPDATE ON mounts
    FOR EACH ROW EXECUTE FUNCTION mark_mount_dirty();

-- Written in the transaction that stores the event, removed in the one that acts on it. Within a
-- lane the order is kept and one watcher works at a time; hazards never wait behind others.
CREATE TABLE watch_queue (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer     NOT NULL,
    at        timestamptz NOT NULL,
    event_id  text        NOT NULL,
    kind      text        NOT NULL,
    data      jsonb       NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    urgent    boolean     GENERATED ALWAYS AS (kind = 'hazard') STORED,
    lane      smallint    GENERATED ALWAYS AS (device_id % 16) STORED
);
CREATE INDEX watch_queue_lanes ON watch_queue (urgent, lane, id);
COMMENT ON TABLE watch_queue IS
    'Events that watch has to act on. Put here with the event, removed by whoever acts on it.';
COMMENT ON COLUMN watch_queue.id IS 'Row key; the order of the queue.';
COMMENT ON COLUMN watch_queue.device_id IS 'Device that reported the event (devices.id).';
COMMENT ON COLUMN watch_queue.at IS 'Instant of the event, by the device.';
COMMENT ON COLUMN watch_queue.event_id IS 'The device''s own number of the event.';
COMMENT ON COLUMN watch_queue.kind IS 'Kind of the event.';
COMMENT ON COLUMN watch_queue.data IS 'Fields of the event, by kind.';
COMMENT ON COLUMN watch_queue.queued_at IS 'Instant at which it was queued.';
COMMENT ON COLUMN watch_queue.urgent IS 'True for hazards, which never wait behind others.';
COMMENT ON COLUMN watch_queue.lane IS
    'Lane 0 to 15: within one, the order is kept and one watcher works at a time.';
