-- Leads: what had arrived and was known on a night, richer unit-days, findings that never change once made, visits and
-- their outcomes.

-- The night's clock. A night that is run again for a day of the past sets it; everyone else reads the wall.
CREATE FUNCTION anju_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('anju.clock', true), '')::timestamptz, clock_timestamp())
$$;

-- Seconds between a reading and its arrival; NULL where it came as it was taken. "What did we know that night?" rests on it.
ALTER TABLE readings ADD COLUMN late_s integer;
-- An estate that is played from a recording: its messages count as received when they say that they were sent.
ALTER TABLE estates ADD COLUMN received_as_sent boolean NOT NULL DEFAULT false;
ALTER TABLE dirty_spans ADD COLUMN received_at timestamptz NOT NULL DEFAULT '-infinity';
DROP INDEX dirty_spans_estate;
CREATE INDEX dirty_spans_estate ON dirty_spans (estate_id, received_at, id);

-- The day on which the office learned of it; NULL: from its first day.
ALTER TABLE tenancies ADD COLUMN recorded_on date;
ALTER TABLE residents ADD COLUMN recorded_on date;
ALTER TABLE declarations ADD COLUMN recorded_on date;

-- What other offices told: a household that owns a home, a tenant who died, arrears, disqualification.
CREATE TABLE outside_facts (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code         text NOT NULL UNIQUE,
    household_id integer NOT NULL REFERENCES households ON DELETE RESTRICT,
    kind         text NOT NULL CHECK (kind IN ('owns_home', 'income_over_limit', 'disqualified', 'lives_elsewhere', 'deceased', 'arrears')),
    received_on  date NOT NULL,
    withdrawn_on date,
    note         text,
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outside_facts_household ON outside_facts (household_id);
CREATE TRIGGER keep_history BEFORE UPDATE OR DELETE ON outside_facts FOR EACH ROW EXECUTE FUNCTION keep_register_history();

-- Hours are of the local day. A token is a hash, never the token itself; its three lowest bits say who it was
-- (0 resident, 1 stranger, 2 former resident, 3 registered guest or carer; times two) and whether the night was spent.
ALTER TABLE unit_days
    ADD COLUMN energy_night_kwh   real,
    ADD COLUMN energy_day_kwh     real,
    ADD COLUMN energy_plateau_w   real,
    ADD COLUMN energy_plateau_h   real,
    ADD COLUMN water_hours        real,
    ADD COLUMN water_hours_known  real,
    ADD COLUMN water_night_l      real,
    ADD COLUMN water_peak_l       real,
    ADD COLUMN strangers_nights   integer,
    ADD COLUMN residents_nights   integer,
    ADD COLUMN lent_passages      integer,
    ADD COLUMN tokens             bigint[] NOT NULL DEFAULT '{}';

-- A finding is never changed: what is said anew is another row, and the one before is superseded. raised_at is when its
-- suspicion was first said aloud; NULL while it is too weak for that.
ALTER TABLE findings
    ADD COLUMN params_digest text NOT NULL DEFAULT '',
    ADD COLUMN window_from   date,
    ADD COLUMN window_to     date,
    ADD COLUMN since_low_at  timestamptz,
    ADD COLUMN since_high_at timestamptz,
    ADD COLUMN raised_at     timestamptz;
UPDATE findings SET raised_at = found_at, since_low_at = since_at, since_high_at = since_at;
ALTER TABLE findings ALTER COLUMN found_at SET DEFAULT anju_now();
DROP INDEX findings_current;
CREATE UNIQUE INDEX findings_current ON findings (detector, unit_id, since_at, (reasons[1])) WHERE superseded_at IS NULL;
CREATE INDEX findings_unit ON findings (unit_id, detector, found_at);
ALTER TABLE abstentions ALTER COLUMN found_at SET DEFAULT anju_now();
CREATE INDEX abstentions_unit ON abstentions (unit_id, detector);
ALTER TABLE alerts ALTER COLUMN raised_at SET DEFAULT anju_now(), ALTER COLUMN last_seen_at SET DEFAULT anju_now();
ALTER TABLE alert_changes ALTER COLUMN at SET DEFAULT anju_now();

-- The weekly list as it was given out: which units, why, and which of them at random.
CREATE TABLE visit_lists (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id  integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    as_of      date    NOT NULL,
    visits     integer NOT NULL CHECK (visits > 0),
    controls   integer NOT NULL CHECK (controls >= 0),
    seed       bigint  NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT anju_now(),
    made_by    text    NOT NULL
);
CREATE TABLE visits (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    unit_id     integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    list_id     integer REFERENCES visit_lists ON DELETE RESTRICT,
    reason      text NOT NULL CHECK (reason IN ('lead', 'control', 'tip_off', 'other')),
    visited_on  date NOT NULL,
    outcome     text NOT NULL CHECK (outcome IN ('confirmed', 'unfounded', 'inconclusive')),
    kind        text,
    began_on    date,
    note        text,
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((outcome = 'confirmed') = (kind IS NOT NULL))
);
CREATE INDEX visits_unit ON visits (unit_id, visited_on);
-- Which findings a visit put to the test, as they stood on its day.
CREATE TABLE visit_findings (
    visit_id   integer NOT NULL REFERENCES visits ON DELETE RESTRICT,
    finding_id bigint  NOT NULL REFERENCES findings ON DELETE RESTRICT,
    PRIMARY KEY (visit_id, finding_id)
);
CREATE INDEX tenancies_household ON tenancies (household_id, valid_from);
CREATE INDEX events_device_at ON events (device_id, at);
-- The local day up to which an estate's nights have been run, with the clock of that night.
ALTER TABLE judged_days ADD COLUMN clock_at timestamptz NOT NULL DEFAULT now();
