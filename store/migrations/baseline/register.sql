-- The register: places, households, residents as codes, gateways, devices and where they are mounted.
-- A row keeps its code for ever. What holds for a time carries valid_from and valid_to. When Anju learned of it is
-- recorded_at, and register_history keeps every older version of a row.

CREATE TABLE register_history (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text        NOT NULL,
    row_id        bigint      NOT NULL,
    row_data      jsonb       NOT NULL,
    recorded_at   timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX register_history_row ON register_history (table_name, row_id, recorded_at);

CREATE FUNCTION keep_register_history() RETURNS trigger
LANGUAGE plpgsql
AS $$
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

CREATE TABLE register_version (
    version bigint NOT NULL
);
INSERT INTO register_version VALUES (1);

-- SECURITY DEFINER: the API writes certificates but has no right to this table.
CREATE FUNCTION raise_register_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
BEGIN
    UPDATE register_version SET version = version + 1;
    RETURN NULL;
END
$$;

CREATE TABLE jurisdictions (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    name        text        NOT NULL,
    level       text        NOT NULL CHECK (level IN ('city', 'district', 'street', 'community')),
    parent_id   integer     REFERENCES jurisdictions ON DELETE RESTRICT,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX jurisdictions_parent ON jurisdictions (parent_id);

CREATE TABLE estates (
    id               integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code             text        NOT NULL UNIQUE,
    name             text        NOT NULL,
    jurisdiction_id  integer     REFERENCES jurisdictions ON DELETE RESTRICT,
    programme        text        NOT NULL DEFAULT 'public_rental'
                                 CHECK (programme IN ('public_rental', 'affordable_rental')),
    timezone         text        NOT NULL DEFAULT 'Asia/Shanghai',
    recorded_at      timestamptz NOT NULL DEFAULT now(),
    received_as_sent boolean     NOT NULL DEFAULT false
);
CREATE INDEX estates_jurisdiction ON estates (jurisdiction_id);

CREATE TABLE buildings (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text        NOT NULL,
    name        text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

CREATE TABLE entrances (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    building_id integer     NOT NULL REFERENCES buildings ON DELETE RESTRICT,
    code        text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);

CREATE TABLE units (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer          NOT NULL REFERENCES estates ON DELETE RESTRICT,
    entrance_id integer          REFERENCES entrances ON DELETE RESTRICT,
    code        text             NOT NULL,
    floor       integer,
    area_m2     double precision,
    recorded_at timestamptz      NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
CREATE INDEX units_entrance ON units (entrance_id);

CREATE TABLE households (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    members     integer,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tenancies (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text        NOT NULL UNIQUE,
    unit_id      integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    household_id integer     NOT NULL REFERENCES households ON DELETE RESTRICT,
    valid_from   date        NOT NULL,
    valid_to     date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    recorded_on  date
);
CREATE INDEX tenancies_unit ON tenancies (unit_id, valid_from);
CREATE INDEX tenancies_household ON tenancies (household_id, valid_from);

CREATE TABLE residents (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text        NOT NULL UNIQUE,
    household_id integer     NOT NULL REFERENCES households ON DELETE RESTRICT,
    role         text        NOT NULL DEFAULT 'member'
                             CHECK (role IN ('tenant', 'member', 'guest', 'carer')),
    valid_from   date        NOT NULL,
    valid_to     date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    recorded_on  date
);
CREATE INDEX residents_household ON residents (household_id);

CREATE TABLE credentials (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    resident_id integer     REFERENCES residents ON DELETE RESTRICT,
    method      text        NOT NULL,
    valid_from  date        NOT NULL,
    valid_to    date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vehicles (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text        NOT NULL UNIQUE,
    household_id integer     NOT NULL REFERENCES households ON DELETE RESTRICT,
    valid_from   date        NOT NULL,
    valid_to     date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_on  date,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX vehicles_household ON vehicles (household_id);

CREATE TABLE gateways (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text        NOT NULL,
    retired_on  date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
CREATE INDEX gateways_estate ON gateways (estate_id);

CREATE TABLE devices (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    gateway_id  integer     REFERENCES gateways ON DELETE RESTRICT,
    code        text        NOT NULL,
    kind        text        NOT NULL
                            CHECK (kind IN ('water_meter', 'electricity_meter', 'door', 'gate',
                                            'camera', 'detector', 'other')),
    profile     text        NOT NULL,
    serial      text,
    retired_on  date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
CREATE INDEX devices_gateway ON devices (gateway_id, code);

CREATE TABLE points (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL REFERENCES devices ON DELETE RESTRICT,
    name      text    NOT NULL,
    UNIQUE (device_id, name)
);

CREATE TABLE mounts (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    device_id   integer     NOT NULL REFERENCES devices ON DELETE RESTRICT,
    unit_id     integer     REFERENCES units ON DELETE RESTRICT,
    entrance_id integer     REFERENCES entrances ON DELETE RESTRICT,
    building_id integer     REFERENCES buildings ON DELETE RESTRICT,
    place       text,
    valid_from  timestamptz NOT NULL,
    valid_to    timestamptz CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(unit_id, entrance_id, building_id) <= 1)
);
CREATE INDEX mounts_device ON mounts (device_id, valid_from);
CREATE INDEX mounts_unit ON mounts (unit_id, valid_from);
CREATE INDEX mounts_entrance ON mounts (entrance_id);

CREATE TABLE declarations (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    unit_id     integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    kind        text        NOT NULL
                            CHECK (kind IN ('absence', 'guest', 'carer', 'repair', 'objection')),
    valid_from  date        NOT NULL,
    valid_to    date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    note        text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    recorded_on date
);
CREATE INDEX declarations_unit ON declarations (unit_id, valid_from);

CREATE TABLE tip_offs (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    unit_id     integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    received_on date        NOT NULL,
    kind        text        NOT NULL,
    note        text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE outside_facts (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text        NOT NULL UNIQUE,
    household_id integer     NOT NULL REFERENCES households ON DELETE RESTRICT,
    kind         text        NOT NULL
                             CHECK (kind IN ('owns_home', 'income_over_limit', 'disqualified',
                                             'lives_elsewhere', 'deceased', 'arrears')),
    received_on  date        NOT NULL,
    withdrawn_on date,
    note         text,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outside_facts_household ON outside_facts (household_id);

CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON jurisdictions
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON estates
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON buildings
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON entrances
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON units
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON households
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON tenancies
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON residents
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON credentials
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON vehicles
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON gateways
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON mounts
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON declarations
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON tip_offs
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON outside_facts
    FOR EACH ROW EXECUTE FUNCTION keep_register_history();

-- Ingest reads the register again when the version has risen.
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON estates
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON gateways
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON devices
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
