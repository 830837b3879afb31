-- Unit-day facts, findings, abstentions and alerts. NULL means "not known", never zero.

CREATE TABLE unit_days (
    unit_id              integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    day                  date    NOT NULL,
    energy_kwh           real,
    energy_cover         real NOT NULL DEFAULT 0,
    energy_floor_w       real,
    energy_peak_w        real,
    water_l              real,
    water_cover          real NOT NULL DEFAULT 0,
    water_trickle_l      real,
    water_first_use_at   timestamptz,
    water_last_use_at    timestamptz,
    water_first_still_at timestamptz,
    water_last_still_at  timestamptz,
    water_least_l_h      real,
    energy_samples       integer NOT NULL DEFAULT 0,
    water_samples        integer NOT NULL DEFAULT 0,
    entries              integer,
    exits                integer,
    residents_seen       integer,
    strangers_seen       integer,
    faults               text[] NOT NULL DEFAULT '{}',
    computed_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (unit_id, day)
);

CREATE TABLE findings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector      text NOT NULL,
    version       text NOT NULL,
    unit_id       integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    since_at      timestamptz NOT NULL,
    until_at      timestamptz,
    frozen        boolean NOT NULL DEFAULT false,
    score         real NOT NULL CHECK (score BETWEEN 0 AND 1),
    reasons       text[] NOT NULL,
    evidence      jsonb NOT NULL,
    params        jsonb NOT NULL,
    found_at      timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz
);
CREATE UNIQUE INDEX findings_current ON findings (detector, unit_id, since_at) WHERE superseded_at IS NULL;

CREATE TABLE abstentions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector      text NOT NULL,
    version       text NOT NULL,
    unit_id       integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    from_day      date NOT NULL,
    to_day        date NOT NULL,
    reason        text NOT NULL,
    found_at      timestamptz NOT NULL DEFAULT now(),
    superseded_at timestamptz
);
CREATE UNIQUE INDEX abstentions_current ON abstentions (detector, unit_id, from_day, reason) WHERE superseded_at IS NULL;

-- The last local day on which all units of an estate were judged, whether or not anything had come in: silence has
-- to be noticed too.
CREATE TABLE judged_days (
    estate_id integer PRIMARY KEY REFERENCES estates ON DELETE RESTRICT,
    day       date NOT NULL
);

CREATE TABLE alerts (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id       integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    detector        text NOT NULL,
    subject_kind    text NOT NULL CHECK (subject_kind IN ('unit', 'device', 'gateway', 'estate')),
    subject_id      integer NOT NULL,
    subject         text NOT NULL,
    dedup_key       text NOT NULL DEFAULT '',
    alert_class     text NOT NULL CHECK (alert_class IN ('life_safety', 'hazard', 'compliance', 'welfare', 'data')),
    severity        text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    score           real NOT NULL CHECK (score BETWEEN 0 AND 1),
    condition       text NOT NULL CHECK (condition IN ('active', 'returned', 'not_evaluable')),
    acknowledgement text NOT NULL DEFAULT 'unacknowledged'
                    CHECK (acknowledgement IN ('unacknowledged', 'acknowledged', 'confirmed')),
    suppression     text NOT NULL DEFAULT 'none' CHECK (suppression IN ('none', 'shelved', 'by_design', 'out_of_service')),
    reasons         text[] NOT NULL,
    evidence        jsonb NOT NULL,
    policy_version  text NOT NULL,
    since_at        timestamptz NOT NULL,
    until_at        timestamptz,
    occurrences     integer NOT NULL DEFAULT 1,
    raised_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    version         integer NOT NULL DEFAULT 1
);
-- One row per open (detector, subject, key): a second one is a count, never a duplicate and never an error.
CREATE UNIQUE INDEX alerts_open ON alerts (detector, subject_kind, subject_id, dedup_key) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_estate ON alerts (estate_id, id DESC);
CREATE INDEX alerts_by_subject ON alerts (subject_kind, subject_id, since_at);

CREATE TABLE alert_occurrences (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    at       timestamptz NOT NULL,
    state    text NOT NULL,
    source   jsonb NOT NULL
);
CREATE INDEX alert_occurrences_alert ON alert_occurrences (alert_id, id);

-- Everything that ever changed an alert, by whom; also what the live stream replays from.
CREATE TABLE alert_changes (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor    text NOT NULL,
    step     text NOT NULL,
    note     text
);
CREATE INDEX alert_changes_alert ON alert_changes (alert_id, seq);

CREATE TABLE users (
    id                   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                 text NOT NULL UNIQUE,
    password_hash        text NOT NULL,
    role                 text NOT NULL,
    jurisdiction_id      integer REFERENCES jurisdictions ON DELETE RESTRICT,
    estate_id            integer REFERENCES estates ON DELETE RESTRICT,
    must_change_password boolean NOT NULL DEFAULT true,
    failures             integer NOT NULL DEFAULT 0,
    locked_until         timestamptz,
    disabled_at          timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY,
    user_id    integer NOT NULL REFERENCES users ON DELETE CASCADE,
    csrf       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
