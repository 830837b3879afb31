-- What ingest keeps beside the series: progress and gaps, gateways' state, quarantine, tallies, latest values,
-- the leases of its workers, and the two queues that analytics empties.

-- One row per boot of a gateway. The numbers that are stored are one multirange; PostgreSQL's own union merges what
-- several workers received.
CREATE TABLE gateway_progress (
    gateway_id   integer       NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    kind         text          NOT NULL,
    boot         text          NOT NULL,
    received_at  timestamptz   NOT NULL DEFAULT now(),
    received     int8multirange NOT NULL DEFAULT '{}',
    missing      int8multirange
                 GENERATED ALWAYS AS (int8multirange(int8range(1, upper(received))) - received) STORED,
    gap_since    timestamptz,
    requested_at timestamptz,
    PRIMARY KEY (gateway_id, kind, boot)
);
CREATE INDEX gateway_progress_gaps ON gateway_progress (gap_since) WHERE gap_since IS NOT NULL;

-- The union, as long as it stays small. Beyond max_ranges only what closes gaps is added (store/ingest/progress.py).
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

CREATE TABLE gateway_births (
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    boot       text        NOT NULL,
    at         timestamptz NOT NULL,
    devices    jsonb       NOT NULL,
    PRIMARY KEY (gateway_id, boot)
);

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

CREATE TABLE latest_values (
    point_id integer PRIMARY KEY,
    at       timestamptz      NOT NULL,
    value    double precision NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE ingest_workers (
    name    text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE TABLE ingest_leases (
    name       text PRIMARY KEY,
    holder     text,
    expires_at timestamptz
);

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

-- Written in the transaction that stores the event, removed in the one that acts on it.
-- Within a lane the order is kept and one watcher works at a time; hazards never wait behind others.
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
