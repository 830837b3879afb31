-- What ingest keeps beside the series: progress, gaps, quarantine, tallies, and the two queues that analytics empties.

CREATE TABLE gateway_progress (
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    kind       text    NOT NULL,
    boot       text    NOT NULL,
    upto       bigint  NOT NULL,
    also       bigint[] NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, kind, boot)
);

-- A number that a gateway never sent is a fact that analytics know; filled_at says that it came after all.
CREATE TABLE gaps (
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    kind       text    NOT NULL,
    boot       text    NOT NULL,
    seq        bigint  NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    filled_at  timestamptz,
    PRIMARY KEY (gateway_id, kind, boot, seq)
);

CREATE TABLE gateway_state (
    gateway_id      integer PRIMARY KEY REFERENCES gateways ON DELETE RESTRICT,
    online          boolean NOT NULL,
    at              timestamptz NOT NULL,
    boot            text,
    clock_offset_ms integer,
    outbox          integer,
    best_effort     boolean NOT NULL DEFAULT false,
    heard_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE births (
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    boot       text    NOT NULL,
    at         timestamptz NOT NULL,
    devices    jsonb   NOT NULL,
    PRIMARY KEY (gateway_id, boot)
);

-- Kept for a person: what did not fit, why, and the bytes to try it again with. The digest makes a resend a duplicate.
CREATE TABLE quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now(),
    topic       text  NOT NULL,
    reason      text  NOT NULL,
    detail      text  NOT NULL,
    payload     bytea NOT NULL,
    digest      bytea NOT NULL UNIQUE,
    resolution  text  CHECK (resolution IN ('replayed', 'discarded')),
    resolved_at timestamptz
);
CREATE INDEX quarantine_open ON quarantine (received_at) WHERE resolution IS NULL;

-- received = stored + duplicates + quarantined, per topic's gateway and kind, always.
CREATE TABLE tallies (
    source      text   NOT NULL,
    kind        text   NOT NULL,
    received    bigint NOT NULL DEFAULT 0,
    stored      bigint NOT NULL DEFAULT 0,
    duplicates  bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, kind)
);

-- Which spans of a device's series have changed since the facts were computed.
CREATE TABLE dirty_spans (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL,
    from_at   timestamptz NOT NULL,
    to_at     timestamptz NOT NULL
);

-- A mount that is registered or corrected after its device has spoken makes that device's past dirty.
CREATE FUNCTION mark_mount_dirty() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    earliest timestamptz := (SELECT least((SELECT min(at) FROM readings), (SELECT min(at) FROM events)));
BEGIN
    IF earliest IS NOT NULL THEN
        INSERT INTO dirty_spans (device_id, from_at, to_at)
        SELECT NEW.device_id, low, high
        FROM (SELECT greatest(NEW.valid_from, earliest) AS low, least(coalesce(NEW.valid_to, now()), now()) AS high) s
        WHERE low <= high;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER mark_dirty AFTER INSERT OR UPDATE ON mounts FOR EACH ROW EXECUTE FUNCTION mark_mount_dirty();

-- Events that watch must look at, put here in the transaction that stores them and taken in the one that acts on them.
CREATE TABLE watch_queue (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL,
    at        timestamptz NOT NULL,
    event_id  text NOT NULL,
    kind      text NOT NULL,
    data      jsonb NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
