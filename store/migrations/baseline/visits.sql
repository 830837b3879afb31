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
COMMENT ON TABLE visit_lists IS 'Lists of visits as they were given out.';
COMMENT ON COLUMN visit_lists.id IS 'Row key.';
COMMENT ON COLUMN visit_lists.estate_id IS 'Estate of the list.';
COMMENT ON COLUMN visit_lists.as_of IS 'Local day that the list was made for.';
COMMENT ON COLUMN visit_lists.visits IS 'Number of visits that can be made.';
COMMENT ON COLUMN visit_lists.controls IS 'Number of them that were drawn at random.';
COMMENT ON COLUMN visit_lists.seed IS 'Seed of the draw.';
COMMENT ON COLUMN visit_lists.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN visit_lists.made_by IS 'Log-in that asked for it.';

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
COMMENT ON TABLE visits IS 'Visits to units and what they found.';
COMMENT ON COLUMN visits.id IS 'Row key.';
COMMENT ON COLUMN visits.code IS 'Code of the visit, unique.';
COMMENT ON COLUMN visits.unit_id IS 'Unit that was visited.';
COMMENT ON COLUMN visits.list_id IS 'List that asked for it; NULL for one outside a list.';
COMMENT ON COLUMN visits.reason IS
    'Why it was visited: lead, control (at random), tip_off or other.';
COMMENT ON COLUMN visits.visited_on IS 'Local day of the visit.';
COMMENT ON COLUMN visits.outcome IS 'What was found: confirmed, unfounded or inconclusive.';
COMMENT ON COLUMN visits.kind IS
    'Violation that was found; given exactly where the outcome is confirmed.';
COMMENT ON COLUMN visits.began_on IS 'Local day on which the violation began, where it is known.';
COMMENT ON COLUMN visits.note IS 'Remark.';
COMMENT ON COLUMN visits.recorded_by IS 'Log-in that recorded it.';
COMMENT ON COLUMN visits.recorded_at IS 'Instant at which it was recorded.';
COMMENT ON COLUMN visits.estate_id IS 'Estate of the unit, set by a trigger.';

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
COMMENT ON TABLE visit_findings IS
    'Which findings a visit put to the test, as they stood on its day.';
COMMENT ON COLUMN visit_findings.visit_id IS 'The visit.';
COMMENT ON COLUMN visit_findings.finding_id IS 'The finding.';
