-- Alerts, what happened to each of them, and what holds them back.
-- Condition, acknowledgement and suppression are independent of each other (ISA-18.2, OPC UA Part 9).

CREATE TABLE alerts (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id          integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    detector           text        NOT NULL,
    subject_kind       text        NOT NULL
                                   CHECK (subject_kind IN ('unit', 'device', 'gateway', 'estate')),
    subject_id         integer     NOT NULL,
    subject            text        NOT NULL,
    dedup_key          text        NOT NULL DEFAULT '',
    alert_class        text        NOT NULL
                                   CHECK (alert_class IN ('life_safety', 'hazard', 'compliance',
                                                          'welfare', 'data', 'privacy')),
    severity           text        NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    score              real        NOT NULL CHECK (score BETWEEN 0 AND 1),
    condition          text        NOT NULL
                                   CHECK (condition IN ('active', 'returned', 'not_evaluable')),
    acknowledgement    text        NOT NULL DEFAULT 'unacknowledged'
                                   CHECK (acknowledgement IN ('unacknowledged', 'acknowledged',
                                                              'confirmed')),
    suppression        text        NOT NULL DEFAULT 'none'
                                   CHECK (suppression IN ('none', 'shelved', 'by_design',
                                                          'out_of_service')),
    reasons            text[]      NOT NULL,
    evidence           jsonb       NOT NULL,
    policy_version     text        NOT NULL,
    since_at           timestamptz NOT NULL,
    until_at           timestamptz,
    occurrences        integer     NOT NULL DEFAULT 1,
    raised_at          timestamptz NOT NULL DEFAULT anju_now(),
    last_seen_at       timestamptz NOT NULL DEFAULT anju_now(),
    ended_at           timestamptz,
    version            integer     NOT NULL DEFAULT 1,
    latched            boolean     NOT NULL DEFAULT false,
    review             boolean     NOT NULL DEFAULT false,
    drill              boolean     NOT NULL DEFAULT false,
    suppressed_because text,
    assignee           text,
    acknowledged_at    timestamptz,
    acknowledged_by    text,
    CHECK (alert_class <> 'life_safety' OR latched)
);
-- One row per open key: a second alert is a count, never a duplicate and never an error.
CREATE UNIQUE INDEX alerts_open ON alerts (detector, subject_kind, subject_id, dedup_key)
    WHERE ended_at IS NULL;
CREATE INDEX alerts_by_estate ON alerts (estate_id, id DESC);
CREATE INDEX alerts_by_subject ON alerts (subject_kind, subject_id, since_at);
CREATE INDEX alerts_by_time ON alerts (raised_at);
CREATE INDEX alerts_by_class ON alerts (alert_class, estate_id, id DESC);
CREATE INDEX alerts_open_by_id ON alerts (id) WHERE ended_at IS NULL;
CREATE INDEX alerts_standing ON alerts (estate_id, detector) WHERE ended_at IS NULL;
CREATE INDEX alerts_folding ON alerts (estate_id, detector, alert_class, suppression)
    WHERE ended_at IS NULL;
CREATE INDEX leads_by_score ON alerts (estate_id, score DESC)
    WHERE ended_at IS NULL AND alert_class = 'compliance';

CREATE TABLE alert_occurrences (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint      NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    at       timestamptz NOT NULL,
    state    text        NOT NULL,
    source   jsonb       NOT NULL
);
CREATE INDEX alert_occurrences_alert ON alert_occurrences (alert_id, id);
CREATE INDEX alert_occurrences_at ON alert_occurrences (at);

-- The live stream replays from this table.
CREATE TABLE alert_changes (
    seq      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint      NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    at       timestamptz NOT NULL DEFAULT anju_now(),
    actor    text        NOT NULL,
    step     text        NOT NULL,
    note     text
);
CREATE INDEX alert_changes_alert ON alert_changes (alert_id, seq);
CREATE INDEX alert_changes_at ON alert_changes (at);

-- A suppression stands on the key and not on the alert, so that it survives the end of the alert and the next one.
CREATE TABLE suppressions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector     text        NOT NULL,
    subject_kind text        NOT NULL,
    subject_id   integer     NOT NULL,
    dedup_key    text        NOT NULL DEFAULT '',
    kind         text        NOT NULL CHECK (kind IN ('shelved', 'out_of_service')),
    reason       text        NOT NULL,
    until_at     timestamptz,
    made_at      timestamptz NOT NULL DEFAULT anju_now(),
    made_by      text        NOT NULL,
    ended_at     timestamptz,
    ended_by     text,
    CHECK (kind <> 'shelved' OR until_at IS NOT NULL)
);
CREATE UNIQUE INDEX suppressions_open ON suppressions (detector, subject_kind, subject_id, dedup_key)
    WHERE ended_at IS NULL;
CREATE INDEX suppressions_due ON suppressions (until_at) WHERE ended_at IS NULL;

-- Maintenance holds back what it covers, but never life safety. A drill marks the alerts that it covers.
CREATE TABLE alarm_windows (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id  integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    gateway_id integer     REFERENCES gateways ON DELETE RESTRICT,
    device_id  integer     REFERENCES devices ON DELETE RESTRICT,
    kind       text        NOT NULL CHECK (kind IN ('maintenance', 'drill')),
    from_at    timestamptz NOT NULL,
    to_at      timestamptz NOT NULL CHECK (to_at > from_at),
    reason     text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT anju_now(),
    made_by    text        NOT NULL,
    ended_at   timestamptz,
    ended_by   text
);
CREATE INDEX alarm_windows_estate ON alarm_windows (estate_id, to_at) WHERE ended_at IS NULL;

CREATE TABLE watch_timers (
    detector     text        NOT NULL,
    subject_kind text        NOT NULL,
    subject_id   integer     NOT NULL,
    transition   text        NOT NULL CHECK (transition IN ('on', 'off')),
    at           timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    source       jsonb       NOT NULL,
    PRIMARY KEY (detector, subject_kind, subject_id)
);
CREATE INDEX watch_timers_due ON watch_timers (due_at);

CREATE TABLE welfare_watches (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id      integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    resident_id  integer     NOT NULL REFERENCES residents ON DELETE RESTRICT,
    quiet_hours  real        NOT NULL CHECK (quiet_hours BETWEEN 4 AND 72),
    awake_from   time        NOT NULL,
    awake_to     time        NOT NULL CHECK (awake_to > awake_from),
    consented_at timestamptz NOT NULL,
    consented_by text        NOT NULL,
    ended_at     timestamptz,
    ended_by     text
);
CREATE UNIQUE INDEX welfare_watches_open ON welfare_watches (unit_id) WHERE ended_at IS NULL;
