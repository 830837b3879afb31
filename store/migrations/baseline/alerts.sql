-- Alerts, what happened to each of them, and what holds them back. Condition, acknowledgement and
-- suppression are independent of each other (ISA-18.2, OPC UA Part 9).

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
    severity           text        NOT NULL
                                   CHECK (severity IN ('critical', 'high', 'medium', 'low')),
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
COMMENT ON TABLE alerts IS
    'Alerts: findings and events that policy shows. One row per open key (detector, subject, '
    'dedup_key).';
COMMENT ON COLUMN alerts.id IS 'Row key.';
COMMENT ON COLUMN alerts.estate_id IS 'Estate of the subject.';
COMMENT ON COLUMN alerts.detector IS
    'Key of the detector; for events it is kind and word, as in hazard:smoke.';
COMMENT ON COLUMN alerts.subject_kind IS 'What it is about: unit, device, gateway or estate.';
COMMENT ON COLUMN alerts.subject_id IS 'Key of the subject in the table of its kind.';
COMMENT ON COLUMN alerts.subject IS 'Code of the subject.';
COMMENT ON COLUMN alerts.dedup_key IS
    'What tells two alerts of one detector and subject apart; empty where nothing has to.';
COMMENT ON COLUMN alerts.alert_class IS
    'Class: life_safety, hazard, compliance, welfare, data or privacy.';
COMMENT ON COLUMN alerts.severity IS 'How bad it is if true: critical, high, medium or low.';
COMMENT ON COLUMN alerts.score IS 'How likely it is true, 0 to 1.';
COMMENT ON COLUMN alerts.condition IS
    'Whether the condition holds: active, returned or not_evaluable.';
COMMENT ON COLUMN alerts.acknowledgement IS
    'Whether people took it on: unacknowledged, acknowledged or confirmed.';
COMMENT ON COLUMN alerts.suppression IS
    'What holds it back: none, shelved, by_design or out_of_service.';
COMMENT ON COLUMN alerts.reasons IS 'Reason codes.';
COMMENT ON COLUMN alerts.evidence IS 'Values and periods that a person can check.';
COMMENT ON COLUMN alerts.policy_version IS 'Version of the policy that showed it.';
COMMENT ON COLUMN alerts.since_at IS 'Instant at which the condition began.';
COMMENT ON COLUMN alerts.until_at IS
    'Instant at which the condition returned; NULL while it holds.';
COMMENT ON COLUMN alerts.occurrences IS 'How often it was raised while it was open.';
COMMENT ON COLUMN alerts.raised_at IS 'Instant at which it was raised first.';
COMMENT ON COLUMN alerts.last_seen_at IS 'Instant at which it was last raised or refreshed.';
COMMENT ON COLUMN alerts.ended_at IS 'Instant at which it ended; NULL while it is open.';
COMMENT ON COLUMN alerts.version IS
    'Number that rises with each change; a step on an older one is refused.';
COMMENT ON COLUMN alerts.latched IS
    'True where it stays until a person has acknowledged it (always for life safety).';
COMMENT ON COLUMN alerts.review IS 'True where a person has to look at it before it counts.';
COMMENT ON COLUMN alerts.drill IS 'True where it was raised during a drill.';
COMMENT ON COLUMN alerts.suppressed_because IS 'Reason of the suppression.';
COMMENT ON COLUMN alerts.assignee IS 'Log-in that has taken it on.';
COMMENT ON COLUMN alerts.acknowledged_at IS 'Instant of the acknowledgement.';
COMMENT ON COLUMN alerts.acknowledged_by IS 'Log-in that acknowledged it.';

CREATE TABLE alert_occurrences (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id bigint      NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    at       timestamptz NOT NULL,
    state    text        NOT NULL,
    source   jsonb       NOT NULL
);
CREATE INDEX alert_occurrences_alert ON alert_occurrences (alert_id, id);
CREATE INDEX alert_occurrences_at ON alert_occurrences (at);
COMMENT ON TABLE alert_occurrences IS 'Each time an alert''s condition was reported.';
COMMENT ON COLUMN alert_occurrences.id IS 'Row key.';
COMMENT ON COLUMN alert_occurrences.alert_id IS 'The alert.';
COMMENT ON COLUMN alert_occurrences.at IS 'Instant of the report, by its source.';
COMMENT ON COLUMN alert_occurrences.state IS 'Reported state: on, off or test.';
COMMENT ON COLUMN alert_occurrences.source IS 'Device and event, or finding, that reported it.';

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
COMMENT ON TABLE alert_changes IS
    'Everything that changed an alert, and by whom. The live stream replays from it.';
COMMENT ON COLUMN alert_changes.seq IS 'Row key; the position in the stream.';
COMMENT ON COLUMN alert_changes.alert_id IS 'The alert.';
COMMENT ON COLUMN alert_changes.at IS 'Instant of the change.';
COMMENT ON COLUMN alert_changes.actor IS 'Log-in or service that made it.';
COMMENT ON COLUMN alert_changes.step IS 'What was done.';
COMMENT ON COLUMN alert_changes.note IS 'Remark.';

-- A suppression stands on the key and not on the alert, so that it survives the end of the alert
-- and the next one.
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
CREATE UNIQUE INDEX suppressions_open
    ON suppressions (detector, subject_kind, subject_id, dedup_key)
    WHERE ended_at IS NULL;
CREATE INDEX suppressions_due ON suppressions (until_at) WHERE ended_at IS NULL;
COMMENT ON TABLE suppressions IS
    'What holds back the alerts of a key, now and when they are raised again.';
COMMENT ON COLUMN suppressions.id IS 'Row key.';
COMMENT ON COLUMN suppressions.detector IS 'Key of the detector.';
COMMENT ON COLUMN suppressions.subject_kind IS 'What the alert is about.';
COMMENT ON COLUMN suppressions.subject_id IS 'Key of the subject.';
COMMENT ON COLUMN suppressions.dedup_key IS 'The alert''s own key within detector and subject.';
COMMENT ON COLUMN suppressions.kind IS 'shelved (for a time) or out_of_service.';
COMMENT ON COLUMN suppressions.reason IS 'Why.';
COMMENT ON COLUMN suppressions.until_at IS
    'Instant at which it ends by itself; always given for shelved.';
COMMENT ON COLUMN suppressions.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN suppressions.made_by IS 'Log-in that made it.';
COMMENT ON COLUMN suppressions.ended_at IS 'Instant at which it ended; NULL while it stands.';
COMMENT ON COLUMN suppressions.ended_by IS
    'Log-in that ended it, or the reason why it ended by itself.';

-- Maintenance holds back what it covers, but never life safety. A drill marks the alerts that it
-- covers.
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
COMMENT ON TABLE alarm_windows IS 'Announced maintenance and drills.';
COMMENT ON COLUMN alarm_windows.id IS 'Row key.';
COMMENT ON COLUMN alarm_windows.estate_id IS 'Estate that it covers.';
COMMENT ON COLUMN alarm_windows.gateway_id IS
    'Gateway that it is limited to; NULL for the whole estate.';
COMMENT ON COLUMN alarm_windows.device_id IS 'Device that it is limited to; NULL for all.';
COMMENT ON COLUMN alarm_windows.kind IS
    'maintenance (holds alerts back, but never life safety) or drill (marks alerts).';
COMMENT ON COLUMN alarm_windows.from_at IS 'First instant.';
COMMENT ON COLUMN alarm_windows.to_at IS 'Last instant.';
COMMENT ON COLUMN alarm_windows.reason IS 'Why.';
COMMENT ON COLUMN alarm_windows.made_at IS 'Instant at which it was announced.';
COMMENT ON COLUMN alarm_windows.made_by IS 'Log-in that announced it.';
COMMENT ON COLUMN alarm_windows.ended_at IS 'Instant at which it was ended early; NULL otherwise.';
COMMENT ON COLUMN alarm_windows.ended_by IS 'Log-in that ended it early.';

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
COMMENT ON TABLE watch_timers IS
    'Conditions that wait: not yet alerts (on-delay), or not yet over (off-delay).';
COMMENT ON COLUMN watch_timers.detector IS 'Key of the detector.';
COMMENT ON COLUMN watch_timers.subject_kind IS 'What it is about.';
COMMENT ON COLUMN watch_timers.subject_id IS 'Key of the subject.';
COMMENT ON COLUMN watch_timers.transition IS 'Condition transition that is due: on or off.';
COMMENT ON COLUMN watch_timers.at IS 'Instant of the report that started the timer.';
COMMENT ON COLUMN watch_timers.due_at IS
    'Instant at which the transition happens unless the condition changes back.';
COMMENT ON COLUMN watch_timers.source IS 'What is needed to make the transition then.';

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
COMMENT ON TABLE welfare_watches IS
    'People who live alone and asked to be looked after. Opt-in, until they say otherwise.';
COMMENT ON COLUMN welfare_watches.id IS 'Row key.';
COMMENT ON COLUMN welfare_watches.unit_id IS 'Their unit.';
COMMENT ON COLUMN welfare_watches.resident_id IS 'The person.';
COMMENT ON COLUMN welfare_watches.quiet_hours IS
    'Waking hours without a sign of life after which somebody is asked to look, hours.';
COMMENT ON COLUMN welfare_watches.awake_from IS 'When they get up, local time.';
COMMENT ON COLUMN welfare_watches.awake_to IS 'When they go to bed, local time.';
COMMENT ON COLUMN welfare_watches.consented_at IS 'Instant of the consent.';
COMMENT ON COLUMN welfare_watches.consented_by IS 'Log-in that recorded the consent.';
COMMENT ON COLUMN welfare_watches.ended_at IS 'Instant at which it ended; NULL while it stands.';
COMMENT ON COLUMN welfare_watches.ended_by IS 'Log-in that ended it.';
