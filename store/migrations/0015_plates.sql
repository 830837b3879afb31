-- Plates as a family of evidence: which vehicles a household has registered, and how many of them an estate's gates saw each day.

-- A vehicle is an opaque token, as the gate's camera sends it; the plate itself never leaves the camera's gateway.
CREATE TABLE vehicles (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE,
    household_id integer NOT NULL REFERENCES households ON DELETE RESTRICT,
    valid_from   date NOT NULL,
    valid_to     date CHECK (valid_to IS NULL OR valid_to >= valid_from),
    recorded_on  date,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX vehicles_household ON vehicles (household_id);
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON vehicles FOR EACH ROW EXECUTE FUNCTION keep_register_history();

-- A gate is a number-plate camera that cars pass; mounted at a building it is that yard's, else the whole estate's.
ALTER TABLE devices DROP CONSTRAINT devices_kind_check;
ALTER TABLE devices ADD CONSTRAINT devices_kind_check
    CHECK (kind IN ('water_meter', 'electricity_meter', 'door', 'gate', 'camera', 'detector', 'other'));

-- NULL: no vehicle is registered for the unit, or one of its gates said nothing that day.
ALTER TABLE unit_days ADD COLUMN cars_seen integer, ADD COLUMN cars_nights integer;
