-- Ingest by several workers: progress as ranges that merge, seats that are leased, what changed as one row per batch,
-- the latest value of every point, and a number that tells ingest when what it remembers of the register is old.

ALTER TABLE gateway_progress ADD COLUMN seen int8multirange NOT NULL DEFAULT '{}';
UPDATE gateway_progress SET seen = (
    SELECT coalesce(range_agg(r), '{}') FROM (
        SELECT int8range(1, upto + 1) AS r UNION ALL SELECT int8range(n, n + 1) FROM unnest(also) n
    ) every_range WHERE NOT isempty(r)
);
ALTER TABLE gateway_progress DROP COLUMN upto, DROP COLUMN also;
ALTER TABLE gateway_progress ADD COLUMN missing int8multirange
    GENERATED ALWAYS AS (int8multirange(int8range(1, upper(seen))) - seen) STORED;
ALTER TABLE gateway_progress ADD COLUMN gap_since timestamptz, ADD COLUMN asked_at timestamptz;
UPDATE gateway_progress p SET gap_since = coalesce((SELECT min(noticed_at) FROM gaps g WHERE g.filled_at IS NULL
    AND (g.gateway_id, g.kind, g.boot) = (p.gateway_id, p.kind, p.boot)), now()) WHERE missing <> '{}';
DROP TABLE gaps;
CREATE INDEX gateway_progress_gaps ON gateway_progress (gap_since) WHERE gap_since IS NOT NULL;

-- The union, as long as it stays small: beyond `most` ranges only what closes gaps is added (store/ingest/progress.py).
CREATE FUNCTION merged(held int8multirange, more int8multirange, most integer) RETURNS int8multirange LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN (SELECT count(*) FROM unnest(held + more)) <= most THEN held + more
                ELSE held + (more * int8multirange(int8range(NULL, upper(held)))) END
$$;

CREATE FUNCTION note_gap_since() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.gap_since := CASE WHEN NEW.seen <> int8multirange(int8range(1, upper(NEW.seen))) THEN coalesce(NEW.gap_since, now()) END;
    RETURN NEW;
END
$$;
CREATE TRIGGER note_gap BEFORE INSERT OR UPDATE OF seen ON gateway_progress FOR EACH ROW EXECUTE FUNCTION note_gap_since();

-- Numbers that a gateway used and never sent, as ranges: a data gap is a fact, and it is over when the range is gone.
CREATE VIEW gaps AS
SELECT p.gateway_id, p.kind, p.boot, lower(r) AS first_seq, upper(r) - 1 AS last_seq, p.gap_since AS noticed_at, p.asked_at
FROM gateway_progress p, unnest(p.missing) r WHERE p.gap_since IS NOT NULL;

ALTER TABLE gateway_state ADD COLUMN skew_ms integer;

-- One row per batch and estate; the three arrays run side by side: device, and the first and last instant (ms) that changed.
ALTER TABLE dirty_spans RENAME TO dirty_spans_old;
CREATE TABLE dirty_spans (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id integer   NOT NULL,
    devices   integer[] NOT NULL,
    from_ms   bigint[]  NOT NULL,
    to_ms     bigint[]  NOT NULL
);
INSERT INTO dirty_spans (estate_id, devices, from_ms, to_ms)
SELECT d.estate_id, array_agg(s.device_id ORDER BY s.id), array_agg((extract(epoch FROM s.from_at) * 1000)::bigint ORDER BY s.id),
       array_agg((extract(epoch FROM s.to_at) * 1000)::bigint ORDER BY s.id)
FROM dirty_spans_old s JOIN devices d ON d.id = s.device_id GROUP BY d.estate_id;
DROP TABLE dirty_spans_old;
CREATE INDEX dirty_spans_estate ON dirty_spans (estate_id, id);

CREATE OR REPLACE FUNCTION mark_mount_dirty() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    earliest timestamptz := (SELECT least((SELECT min(at) FROM readings), (SELECT min(at) FROM events)));
BEGIN
    IF earliest IS NOT NULL THEN
        INSERT INTO dirty_spans (estate_id, devices, from_ms, to_ms)
        SELECT d.estate_id, ARRAY[d.id], ARRAY[(extract(epoch FROM low) * 1000)::bigint], ARRAY[(extract(epoch FROM high) * 1000)::bigint]
        FROM devices d, (SELECT greatest(NEW.valid_from, earliest) AS low, least(coalesce(NEW.valid_to, now()), now()) AS high) s
        WHERE d.id = NEW.device_id AND low <= high;
    END IF;
    RETURN NEW;
END
$$;

-- The last value of a point by the device's own clock; data that come late or again never overwrite a newer one.
CREATE TABLE latest_values (
    point_id integer PRIMARY KEY,
    at       timestamptz      NOT NULL,
    value    double precision NOT NULL
) WITH (fillfactor = 50);

-- A seat is one session at the broker; whoever holds its lease reads it.
CREATE TABLE ingest_workers (
    name    text PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
CREATE TABLE ingest_seats (
    seat     text PRIMARY KEY,
    holder   text,
    until_at timestamptz
);

-- Rises with every commit that changed a gateway or a device.
CREATE TABLE register_version (version bigint NOT NULL);
INSERT INTO register_version VALUES (1);
CREATE FUNCTION raise_register_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE register_version SET version = version + 1;
    RETURN NULL;
END
$$;
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON estates FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON gateways FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON devices FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();

-- A repaired message points to what it was made of; what was too long to keep whole says how long it was.
ALTER TABLE quarantine ADD COLUMN bytes integer;
UPDATE quarantine SET bytes = length(payload);
ALTER TABLE quarantine ALTER COLUMN bytes SET NOT NULL;
ALTER TABLE quarantine DROP CONSTRAINT quarantine_resolution_check;
ALTER TABLE quarantine ADD CONSTRAINT quarantine_resolution_check CHECK (resolution IN ('replayed', 'repaired', 'discarded'));
CREATE INDEX quarantine_open_topic ON quarantine (topic) WHERE resolution IS NULL;
