-- Visit lists, the visits that were made, and the findings that each visit put to the test.

CREATE TABLE visit_lists (
    id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    as_of     date        NOT NULL,
    visits    integer     NOT NULL CHECK (visits > 0),
    controls  integer     NOT NULL CHECK (controls >= 0),
    seed      bigint      NOT NULL,
    made_at   timestamptz NOT NULL DEFAULT anju_now(),
    made_by   text        NOT NULL
);

CREATE TABLE visits (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text        NOT NULL UNIQUE,
    unit_id     integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    list_id     integer     REFERENCES visit_lists ON DELETE RESTRICT,
    reason      text        NOT NULL CHECK (reason IN ('lead', 'control', 'tip_off', 'other')),
    visited_on  date        NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('confirmed', 'unfounded', 'inconclusive')),
    kind        text,
    began_on    date,
    note        text,
    recorded_by text        NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    estate_id   integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    CHECK ((outcome = 'confirmed') = (kind IS NOT NULL))
);
CREATE INDEX visits_unit ON visits (unit_id, visited_on);
-- A city's list of visits is cut to a principal's estates by this index.
CREATE INDEX visits_estate ON visits (estate_id, id);

CREATE FUNCTION set_visit_estate() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.estate_id := (SELECT estate_id FROM units WHERE id = NEW.unit_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER set_estate BEFORE INSERT OR UPDATE OF unit_id ON visits
    FOR EACH ROW EXECUTE FUNCTION set_visit_estate();

CREATE TABLE visit_findings (
    visit_id   integer NOT NULL REFERENCES visits ON DELETE RESTRICT,
    finding_id bigint  NOT NULL REFERENCES findings ON DELETE RESTRICT,
    PRIMARY KEY (visit_id, finding_id)
);
