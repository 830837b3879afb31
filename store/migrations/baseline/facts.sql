-- Unit-day facts: what one unit used, and who passed its doors, on one local day. NULL means "not
-- known", never zero. Hours are hours of the local day.

CREATE TABLE unit_days (
    unit_id              integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    day                  date        NOT NULL,
    energy_kwh           real,
    energy_cover         real        NOT NULL DEFAULT 0,
    energy_floor_w       real,
    energy_peak_w        real,
    water_l              real,
    water_cover          real        NOT NULL DEFAULT 0,
    water_trickle_l      real,
    water_first_use_at   timestamptz,
    water_last_use_at    timestamptz,
    water_first_still_at timestamptz,
    water_last_still_at  timestamptz,
    water_least_l_h      real,
    energy_samples       integer     NOT NULL DEFAULT 0,
    water_samples        integer     NOT NULL DEFAULT 0,
    entries              integer,
    exits                integer,
    residents_seen       integer,
    strangers_seen       integer,
    faults               text[]      NOT NULL DEFAULT '{}',
    computed_at          timestamptz NOT NULL DEFAULT now(),
    energy_night_kwh     real,
    energy_day_kwh       real,
    energy_plateau_w     real,
    energy_plateau_h     real,
    water_hours          real,
    water_hours_known    real,
    water_night_l        real,
    water_peak_l         real,
    strangers_nights     integer,
    residents_nights     integer,
    lent_passages        integer,
    tokens               bigint[]    NOT NULL DEFAULT '{}',
    cars_seen            integer,
    cars_nights          integer,
    PRIMARY KEY (unit_id, day)
);
COMMENT ON TABLE unit_days IS
    'Unit-day facts: what one unit used and who passed its doors on one local day. NULL means '
    '"not known", never zero.';
COMMENT ON COLUMN unit_days.unit_id IS 'The unit.';
COMMENT ON COLUMN unit_days.day IS 'Local day of the estate.';
COMMENT ON COLUMN unit_days.energy_kwh IS 'Electricity used, kWh.';
COMMENT ON COLUMN unit_days.energy_cover IS 'Share of the day that readings cover, 0 to 1.';
COMMENT ON COLUMN unit_days.energy_floor_w IS 'Mean power over the quietest interval, W.';
COMMENT ON COLUMN unit_days.energy_peak_w IS 'Mean power over the busiest interval, W.';
COMMENT ON COLUMN unit_days.water_l IS 'Water used, litres.';
COMMENT ON COLUMN unit_days.water_cover IS 'Share of the day that readings cover, 0 to 1.';
COMMENT ON COLUMN unit_days.water_trickle_l IS
    'Water in intervals of up to 2 litres (drips, not use), litres.';
COMMENT ON COLUMN unit_days.water_first_use_at IS 'First instant by which water had been used.';
COMMENT ON COLUMN unit_days.water_last_use_at IS 'Last instant by which water had been used.';
COMMENT ON COLUMN unit_days.water_first_still_at IS
    'First instant of a span that is proven to be without use.';
COMMENT ON COLUMN unit_days.water_last_still_at IS
    'Last instant of a span that is proven to be without use.';
COMMENT ON COLUMN unit_days.water_least_l_h IS 'Lowest flow over an interval, litres per hour.';
COMMENT ON COLUMN unit_days.energy_samples IS 'Number of electricity readings.';
COMMENT ON COLUMN unit_days.water_samples IS 'Number of water readings.';
COMMENT ON COLUMN unit_days.entries IS 'Passages in through the unit''s doors.';
COMMENT ON COLUMN unit_days.exits IS 'Passages out through the unit''s doors.';
COMMENT ON COLUMN unit_days.residents_seen IS
    'Distinct tokens of residents, registered guests and carers seen at its doors.';
COMMENT ON COLUMN unit_days.strangers_seen IS 'Distinct tokens of others seen at its doors.';
COMMENT ON COLUMN unit_days.faults IS
    'Faults of its meters on that day, as words with the supply in front.';
COMMENT ON COLUMN unit_days.computed_at IS 'Instant at which the row was computed.';
COMMENT ON COLUMN unit_days.energy_night_kwh IS 'Electricity from 00:00 to 05:00 local, kWh.';
COMMENT ON COLUMN unit_days.energy_day_kwh IS 'Electricity from 09:00 to 18:00 local, kWh.';
COMMENT ON COLUMN unit_days.energy_plateau_w IS
    'Median power above the day''s lowest hour, over 00:00 to 05:00 local, W.';
COMMENT ON COLUMN unit_days.energy_plateau_h IS
    'Hours from 00:00 to 08:00 local within 15 % of that plateau.';
COMMENT ON COLUMN unit_days.water_hours IS 'Hours of the local day in which water was drawn.';
COMMENT ON COLUMN unit_days.water_hours_known IS
    'Hours of the local day of which the use is known.';
COMMENT ON COLUMN unit_days.water_night_l IS 'Water from 00:00 to 05:00 local, litres.';
COMMENT ON COLUMN unit_days.water_peak_l IS 'Water in the busiest hour, litres.';
COMMENT ON COLUMN unit_days.strangers_nights IS 'Tokens of others that spent the night.';
COMMENT ON COLUMN unit_days.residents_nights IS
    'Tokens of residents, registered guests and carers that spent the night.';
COMMENT ON COLUMN unit_days.lent_passages IS
    'Passages on which the person seen was not the one whose credential was shown.';
COMMENT ON COLUMN unit_days.tokens IS
    'Hashes of the tokens seen; the lowest three bits say whose (twice the kind of person) and '
    'whether the night was spent.';
COMMENT ON COLUMN unit_days.cars_seen IS
    'Registered vehicles of the household seen at the gates; NULL where it has none.';
COMMENT ON COLUMN unit_days.cars_nights IS 'Those of them that were inside overnight.';
