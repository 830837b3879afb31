-- The register: places, people as tokens, devices and where they are mounted. Identity rows keep their code for ever;
-- what holds for a time carries valid_from and valid_to. The second time, when we knew it, is recorded_at, and every
-- older version of a row is kept in register_history: "what did we know when we flagged this household?" has an answer.

CREATE TABLE register_history (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text        NOT NULL,
    row_id        bigint      NOT NULL,
    row_data      jsonb       NOT NULL,
    recorded_at   timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX register_history_row ON register_history (table_name, row_id, recorded_at);

CREATE FUNCTION keep_register_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO register_history (table_name, row_id, row_data, recorded_at)
    VALUES (TG_TABLE_NAME, OLD.id, to_jsonb(OLD), OLD.recorded_at);
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.recorded_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE jurisdictions (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    name        text NOT NULL,
    level       text NOT NULL CHECK (level IN ('city', 'district', 'street', 'community')),
    parent_id   integer REFERENCES jurisdictions ON DELETE RESTRICT,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE estates (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code            text NOT NULL UNIQUE,
    name            text NOT NULL,
    jurisdiction_id integer REFERENCES jurisdictions ON DELETE RESTRICT,
    programme       text NOT NULL DEFAULT 'public_rental' CHECK (programme IN ('public_rental', 'affordable_rental')),
    timezone        text NOT NULL DEFAULT 'Asia/Shanghai',
    recorded_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE buildings (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text NOT NULL,
    name        text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

-- 单元: a stairwell with its own door.
CREATE TABLE entrances (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    building_id integer NOT NULL REFERENCES buildings ON DELETE RESTRICT,
    code        text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

-- 套: one dwelling.
CREATE TABLE units (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    entrance_id integer REFERENCES entrances ON DELETE RESTRICT,
    code        text NOT NULL,
    floor       integer,
    area_m2     double precision,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

CREATE TABLE households (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    members     integer,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenancies (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE,
    unit_id      integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    household_id integer NOT NULL REFERENCES households ON DELETE RESTRICT,
    valid_from   date NOT NULL,
    valid_to     date CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tenancies_unit ON tenancies (unit_id, valid_from);

-- A resident is an opaque token; names and numbers live elsewhere, behind a purpose.
CREATE TABLE residents (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE,
    household_id integer NOT NULL REFERENCES households ON DELETE RESTRICT,
    role         text NOT NULL DEFAULT 'member' CHECK (role IN ('tenant', 'member', 'guest', 'carer')),
    valid_from   date NOT NULL,
    valid_to     date CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX residents_household ON residents (household_id);

CREATE TABLE credentials (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    resident_id integer REFERENCES residents ON DELETE RESTRICT,
    method      text NOT NULL,
    valid_from  date NOT NULL,
    valid_to    date CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateways (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text NOT NULL,
    retired_on  date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

CREATE TABLE devices (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    gateway_id  integer REFERENCES gateways ON DELETE RESTRICT,
    code        text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('water_meter', 'electricity_meter', 'door', 'camera', 'detector', 'other')),
    profile     text NOT NULL,
    serial      text,
    retired_on  date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

-- Made by ingest the first time a registered device sends a value of that name.
CREATE TABLE points (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL REFERENCES devices ON DELETE RESTRICT,
    name      text NOT NULL,
    UNIQUE (device_id, name)
);

-- Where a device is, and from when to when: a swapped meter is another device with another mount.
CREATE TABLE mounts (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    device_id   integer NOT NULL REFERENCES devices ON DELETE RESTRICT,
    unit_id     integer REFERENCES units ON DELETE RESTRICT,
    entrance_id integer REFERENCES entrances ON DELETE RESTRICT,
    building_id integer REFERENCES buildings ON DELETE RESTRICT,
    place       text,
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(unit_id, entrance_id, building_id) <= 1)
);
CREATE INDEX mounts_device ON mounts (device_id, valid_from);
CREATE INDEX mounts_unit ON mounts (unit_id, valid_from);

-- What a tenant or the office has declared; it suppresses by design.
CREATE TABLE declarations (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    unit_id     integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    kind        text NOT NULL CHECK (kind IN ('absence', 'guest', 'carer', 'repair', 'objection')),
    valid_from  date NOT NULL,
    valid_to    date CHECK (valid_to IS NULL OR valid_to >= valid_from),
    note        text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX declarations_unit ON declarations (unit_id, valid_from);

CREATE TABLE tip_offs (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    unit_id     integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    received_on date NOT NULL,
    kind        text NOT NULL,
    note        text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['jurisdictions', 'estates', 'buildings', 'entrances', 'units', 'households', 'tenancies',
                                'residents', 'credentials', 'gateways', 'devices', 'mounts', 'declarations', 'tip_offs']
    LOOP
        EXECUTE format('CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON %I FOR EACH ROW '
                       'EXECUTE FUNCTION keep_register_history()', name);
    END LOOP;
END
$$;
