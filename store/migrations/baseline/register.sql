-- The register: places, households, residents as codes, gateways, devices and where they are
-- mounted. A row keeps its code for ever. What holds for a time carries valid_from and valid_to.
-- When Anju learned of it is recorded_at, and register_history keeps every older version of a row.

CREATE TABLE register_history (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text        NOT NULL,
    row_id        bigint      NOT NULL,
    row_data      jsonb       NOT NULL,
    recorded_at   timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX register_history_row ON register_history (table_name, row_id, recorded_at);
COMMENT ON TABLE register_history IS
    'Older versions of register rows: what was known at which time. Written by the trigger '
    'keep_history.';
COMMENT ON COLUMN register_history.id IS 'Row key.';
COMMENT ON COLUMN register_history.table_name IS 'Register table of the row.';
COMMENT ON COLUMN register_history.row_id IS 'Key of the row in that table.';
COMMENT ON COLUMN register_history.row_data IS 'The whole row as it was.';
COMMENT ON COLUMN register_history.recorded_at IS 'Instant from which this version was known.';
COMMENT ON COLUMN register_history.superseded_at IS
    'Instant at which the next version replaced it.';

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
COMMENT ON TABLE register_version IS
    'One row. Its number rises with every commit that changes an estate, a gateway, a device or a '
    'certificate.';
COMMENT ON COLUMN register_version.version IS
    'Number of the register''s state; ingest reads the register again when it has risen.';
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
COMMENT ON TABLE jurisdictions IS 'Administrative areas (市, 区, 街道, 社区), as a tree.';
COMMENT ON COLUMN jurisdictions.id IS 'Row key.';
COMMENT ON COLUMN jurisdictions.code IS 'Code of the area, unique, for ever.';
COMMENT ON COLUMN jurisdictions.name IS 'Name for people.';
COMMENT ON COLUMN jurisdictions.level IS 'Rank in the tree: city, district, street or community.';
COMMENT ON COLUMN jurisdictions.parent_id IS 'Area that this one belongs to; NULL for a city.';
COMMENT ON COLUMN jurisdictions.recorded_at IS
    'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE estates IS 'Public-housing estates (小区).';
COMMENT ON COLUMN estates.id IS 'Row key.';
COMMENT ON COLUMN estates.code IS 'Code of the estate, unique, for ever; part of MQTT topics.';
COMMENT ON COLUMN estates.name IS 'Name for people.';
COMMENT ON COLUMN estates.jurisdiction_id IS
    'Area that the estate belongs to; NULL while it is not known.';
COMMENT ON COLUMN estates.programme IS
    'Housing programme: public_rental (公租房) or affordable_rental (保障性租赁住房).';
COMMENT ON COLUMN estates.timezone IS 'IANA time zone of the estate''s local days.';
COMMENT ON COLUMN estates.recorded_at IS 'Instant at which this version of the row was recorded.';
COMMENT ON COLUMN estates.received_as_sent IS
    'True for an estate that is played from a recording: its messages count as received when they '
    'say they were sent.';

CREATE TABLE buildings (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text        NOT NULL,
    name        text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
COMMENT ON TABLE buildings IS 'Buildings (栋) of an estate.';
COMMENT ON COLUMN buildings.id IS 'Row key.';
COMMENT ON COLUMN buildings.estate_id IS 'Estate of the building.';
COMMENT ON COLUMN buildings.code IS 'Code within the estate, for ever.';
COMMENT ON COLUMN buildings.name IS 'Name for people.';
COMMENT ON COLUMN buildings.recorded_at IS 'Instant at which this version of the row was recorded.';

CREATE TABLE entrances (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    building_id integer     NOT NULL REFERENCES buildings ON DELETE RESTRICT,
    code        text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
COMMENT ON TABLE entrances IS 'Entrances (单元): stairwells with their own door.';
COMMENT ON COLUMN entrances.id IS 'Row key.';
COMMENT ON COLUMN entrances.estate_id IS 'Estate of the entrance.';
COMMENT ON COLUMN entrances.building_id IS 'Building of the entrance.';
COMMENT ON COLUMN entrances.code IS 'Code within the estate, for ever.';
COMMENT ON COLUMN entrances.recorded_at IS 'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE units IS 'Units (套): one row per dwelling.';
COMMENT ON COLUMN units.id IS 'Row key.';
COMMENT ON COLUMN units.estate_id IS 'Estate of the unit.';
COMMENT ON COLUMN units.entrance_id IS
    'Entrance that leads to the unit; NULL while it is not known.';
COMMENT ON COLUMN units.code IS 'Code within the estate, for ever.';
COMMENT ON COLUMN units.floor IS 'Storey, counted from 1; negative below ground.';
COMMENT ON COLUMN units.area_m2 IS 'Floor area, m².';
COMMENT ON COLUMN units.recorded_at IS 'Instant at which this version of the row was recorded.';

CREATE TABLE households (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    members     integer,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE households IS 'Households: who rents together.';
COMMENT ON COLUMN households.id IS 'Row key.';
COMMENT ON COLUMN households.code IS 'Code of the household, unique, for ever.';
COMMENT ON COLUMN households.members IS 'Registered size, persons.';
COMMENT ON COLUMN households.recorded_at IS
    'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE tenancies IS 'Tenancies: which household rents which unit, from when to when.';
COMMENT ON COLUMN tenancies.id IS 'Row key.';
COMMENT ON COLUMN tenancies.code IS 'Code of the tenancy, unique, for ever.';
COMMENT ON COLUMN tenancies.unit_id IS 'Unit that is let.';
COMMENT ON COLUMN tenancies.household_id IS 'Household that rents it.';
COMMENT ON COLUMN tenancies.valid_from IS 'First local day.';
COMMENT ON COLUMN tenancies.valid_to IS 'Last local day; NULL while it runs.';
COMMENT ON COLUMN tenancies.recorded_at IS 'Instant at which this version of the row was recorded.';
COMMENT ON COLUMN tenancies.recorded_on IS
    'Local day on which the office learned of it; NULL: on its first day.';

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
COMMENT ON TABLE residents IS
    'Registered residents, as opaque codes. Names and numbers stand in the schema people.';
COMMENT ON COLUMN residents.id IS 'Row key.';
COMMENT ON COLUMN residents.code IS 'Opaque code of the resident, unique, for ever.';
COMMENT ON COLUMN residents.household_id IS 'Household of the resident.';
COMMENT ON COLUMN residents.role IS 'Standing in the household: tenant, member, guest or carer.';
COMMENT ON COLUMN residents.valid_from IS 'First local day.';
COMMENT ON COLUMN residents.valid_to IS 'Last local day; NULL while it runs.';
COMMENT ON COLUMN residents.recorded_at IS 'Instant at which this version of the row was recorded.';
COMMENT ON COLUMN residents.recorded_on IS
    'Local day on which the office learned of it; NULL: on its first day.';

CREATE TABLE credentials (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    resident_id integer     REFERENCES residents ON DELETE RESTRICT,
    method      text        NOT NULL,
    valid_from  date        NOT NULL,
    valid_to    date        CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE credentials IS 'Credentials that open doors, as opaque codes.';
COMMENT ON COLUMN credentials.id IS 'Row key.';
COMMENT ON COLUMN credentials.code IS 'Opaque code of the credential, unique, for ever.';
COMMENT ON COLUMN credentials.resident_id IS
    'Resident who was given it; NULL for nobody in particular.';
COMMENT ON COLUMN credentials.method IS
    'How it is shown to a door, in the words of the wire contract (card, code, qr, phone, …).';
COMMENT ON COLUMN credentials.valid_from IS 'First local day.';
COMMENT ON COLUMN credentials.valid_to IS 'Last local day; NULL while it runs.';
COMMENT ON COLUMN credentials.recorded_at IS
    'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE vehicles IS
    'Registered vehicles, as opaque tokens. The plate itself never leaves the camera''s gateway.';
COMMENT ON COLUMN vehicles.id IS 'Row key.';
COMMENT ON COLUMN vehicles.code IS 'Token that the gate''s camera sends for the plate, unique.';
COMMENT ON COLUMN vehicles.household_id IS 'Household that registered the vehicle.';
COMMENT ON COLUMN vehicles.valid_from IS 'First local day.';
COMMENT ON COLUMN vehicles.valid_to IS 'Last local day; NULL while it runs.';
COMMENT ON COLUMN vehicles.recorded_on IS
    'Local day on which the office learned of it; NULL: on its first day.';
COMMENT ON COLUMN vehicles.recorded_at IS 'Instant at which this version of the row was recorded.';

CREATE TABLE gateways (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code        text        NOT NULL,
    retired_on  date,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (estate_id, code)
);
CREATE INDEX gateways_estate ON gateways (estate_id);
COMMENT ON TABLE gateways IS 'Gateways: the edge processes that speak for devices.';
COMMENT ON COLUMN gateways.id IS 'Row key.';
COMMENT ON COLUMN gateways.estate_id IS 'Estate of the gateway.';
COMMENT ON COLUMN gateways.code IS 'Code within the estate, for ever; part of MQTT topics.';
COMMENT ON COLUMN gateways.retired_on IS
    'Local day on which it was taken out of use; NULL while it is in use.';
COMMENT ON COLUMN gateways.recorded_at IS 'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE devices IS
    'Devices: meters, doors, gates, cameras, detectors. A swapped meter is another device.';
COMMENT ON COLUMN devices.id IS 'Row key.';
COMMENT ON COLUMN devices.estate_id IS 'Estate of the device.';
COMMENT ON COLUMN devices.gateway_id IS
    'Gateway that speaks for the device; NULL for one that is not connected.';
COMMENT ON COLUMN devices.code IS 'Code within the estate, for ever.';
COMMENT ON COLUMN devices.kind IS 'What it is. A gate is a number-plate camera that cars pass.';
COMMENT ON COLUMN devices.profile IS 'Key of the device profile that describes its points.';
COMMENT ON COLUMN devices.serial IS 'Manufacturer''s serial number.';
COMMENT ON COLUMN devices.retired_on IS
    'Local day on which it was taken out of use; NULL while it is in use.';
COMMENT ON COLUMN devices.recorded_at IS 'Instant at which this version of the row was recorded.';

CREATE TABLE points (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_id integer NOT NULL REFERENCES devices ON DELETE RESTRICT,
    name      text    NOT NULL,
    UNIQUE (device_id, name)
);
COMMENT ON TABLE points IS
    'Measurable values of devices. Ingest adds a row when a registered device first sends a value '
    'of that name.';
COMMENT ON COLUMN points.id IS 'Row key.';
COMMENT ON COLUMN points.device_id IS 'Device of the point.';
COMMENT ON COLUMN points.name IS
    'Name of the value with its unit, in the words of the wire contract (energy_kwh, voltage_v, '
    '…).';

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
COMMENT ON TABLE mounts IS
    'Where a device is, from when to when. At most one of unit, entrance and building is given; '
    'without one it is the estate''s.';
COMMENT ON COLUMN mounts.id IS 'Row key.';
COMMENT ON COLUMN mounts.code IS 'Code of the mount, unique, for ever.';
COMMENT ON COLUMN mounts.device_id IS 'Device that is mounted.';
COMMENT ON COLUMN mounts.unit_id IS 'Unit that it measures or belongs to.';
COMMENT ON COLUMN mounts.entrance_id IS 'Entrance that it serves.';
COMMENT ON COLUMN mounts.building_id IS 'Building that it serves.';
COMMENT ON COLUMN mounts.place IS 'Place in words.';
COMMENT ON COLUMN mounts.valid_from IS 'First instant.';
COMMENT ON COLUMN mounts.valid_to IS 'Instant at which it ended; NULL while it runs.';
COMMENT ON COLUMN mounts.recorded_at IS 'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE declarations IS
    'What a tenant or the office has declared of a unit; it suppresses leads by design.';
COMMENT ON COLUMN declarations.id IS 'Row key.';
COMMENT ON COLUMN declarations.code IS 'Code of the declaration, unique, for ever.';
COMMENT ON COLUMN declarations.unit_id IS 'Unit that it is about.';
COMMENT ON COLUMN declarations.kind IS
    'What is declared: absence, guest, carer, repair or objection.';
COMMENT ON COLUMN declarations.valid_from IS 'First local day.';
COMMENT ON COLUMN declarations.valid_to IS 'Last local day; NULL while it runs.';
COMMENT ON COLUMN declarations.note IS 'Remark.';
COMMENT ON COLUMN declarations.recorded_at IS
    'Instant at which this version of the row was recorded.';
COMMENT ON COLUMN declarations.recorded_on IS
    'Local day on which the office learned of it; NULL: on its first day.';

CREATE TABLE tip_offs (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    unit_id     integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    received_on date        NOT NULL,
    kind        text        NOT NULL,
    note        text,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE tip_offs IS 'Tip-offs that the office received about a unit.';
COMMENT ON COLUMN tip_offs.id IS 'Row key.';
COMMENT ON COLUMN tip_offs.code IS 'Code of the tip-off, unique, for ever.';
COMMENT ON COLUMN tip_offs.unit_id IS 'Unit that it is about.';
COMMENT ON COLUMN tip_offs.received_on IS 'Local day on which it came in.';
COMMENT ON COLUMN tip_offs.kind IS 'What it alleges.';
COMMENT ON COLUMN tip_offs.note IS 'Remark.';
COMMENT ON COLUMN tip_offs.recorded_at IS 'Instant at which this version of the row was recorded.';

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
COMMENT ON TABLE outside_facts IS
    'What other offices reported of a household: it owns a home, its tenant died, arrears, '
    'disqualification.';
COMMENT ON COLUMN outside_facts.id IS 'Row key.';
COMMENT ON COLUMN outside_facts.code IS 'Code of the report, unique, for ever.';
COMMENT ON COLUMN outside_facts.household_id IS 'Household that it is about.';
COMMENT ON COLUMN outside_facts.kind IS 'What was reported.';
COMMENT ON COLUMN outside_facts.received_on IS 'Local day on which it came in.';
COMMENT ON COLUMN outside_facts.withdrawn_on IS
    'Local day on which it was taken back; NULL while it stands.';
COMMENT ON COLUMN outside_facts.note IS 'Remark.';
COMMENT ON COLUMN outside_facts.recorded_at IS
    'Instant at which this version of the row was recorded.';

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
