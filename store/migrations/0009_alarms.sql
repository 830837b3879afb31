-- Alerts as people work on them: what is held back and why, who has taken it on, what a person has to look at first.

ALTER TABLE alerts
    ADD COLUMN latched            boolean NOT NULL DEFAULT false,
    ADD COLUMN review             boolean NOT NULL DEFAULT false,
    ADD COLUMN drill              boolean NOT NULL DEFAULT false,
    ADD COLUMN suppressed_because text,
    ADD COLUMN assignee           text,
    ADD COLUMN acknowledged_at    timestamptz,
    ADD COLUMN acknowledged_by    text;
UPDATE alerts SET latched = true WHERE alert_class = 'life_safety';
UPDATE alerts a SET acknowledged_at = c.at, acknowledged_by = c.actor FROM alert_changes c
    WHERE c.alert_id = a.id AND c.step = 'acknowledged' AND a.acknowledgement <> 'unacknowledged';
ALTER TABLE alerts ADD CHECK (alert_class <> 'life_safety' OR latched);
CREATE INDEX alerts_standing ON alerts (estate_id, detector) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_time ON alerts (raised_at);
CREATE INDEX alert_changes_at ON alert_changes (at);
CREATE INDEX alert_occurrences_at ON alert_occurrences (at);

-- An ignore stands on the key and not on the alert, so that it survives clear and re-raise.
CREATE TABLE suppressions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector     text NOT NULL,
    subject_kind text NOT NULL,
    subject_id   integer NOT NULL,
    dedup_key    text NOT NULL DEFAULT '',
    kind         text NOT NULL CHECK (kind IN ('shelved', 'out_of_service')),
    reason       text NOT NULL,
    until_at     timestamptz,
    made_at      timestamptz NOT NULL DEFAULT anju_now(),
    made_by      text NOT NULL,
    ended_at     timestamptz,
    ended_by     text,
    CHECK (kind <> 'shelved' OR until_at IS NOT NULL)
);
CREATE UNIQUE INDEX suppressions_open ON suppressions (detector, subject_kind, subject_id, dedup_key) WHERE ended_at IS NULL;
CREATE INDEX suppressions_due ON suppressions (until_at) WHERE ended_at IS NULL;

-- Work that was announced, and drills. Maintenance holds back what it covers, but never life safety; a drill marks it.
CREATE TABLE windows (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    estate_id  integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    gateway_id integer REFERENCES gateways ON DELETE RESTRICT,
    device_id  integer REFERENCES devices ON DELETE RESTRICT,
    kind       text NOT NULL CHECK (kind IN ('maintenance', 'drill')),
    from_at    timestamptz NOT NULL,
    to_at      timestamptz NOT NULL CHECK (to_at > from_at),
    reason     text NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT anju_now(),
    made_by    text NOT NULL,
    ended_at   timestamptz,
    ended_by   text
);
CREATE INDEX windows_estate ON windows (estate_id, to_at) WHERE ended_at IS NULL;

-- Lanes of the watch's queue: within one the order is kept, and one watcher at a time works on it. Hazards never stand behind others.
ALTER TABLE watch_queue
    ADD COLUMN urgent boolean  GENERATED ALWAYS AS (kind = 'hazard') STORED,
    ADD COLUMN lane   smallint GENERATED ALWAYS AS (device_id % 16) STORED;
CREATE INDEX watch_queue_lanes ON watch_queue (urgent, lane, id);

-- Conditions that wait: not yet alerts (on-delay), or not yet over (off-delay).
CREATE TABLE watch_timers (
    detector     text NOT NULL,
    subject_kind text NOT NULL,
    subject_id   integer NOT NULL,
    turns        text NOT NULL CHECK (turns IN ('on', 'off')),
    at           timestamptz NOT NULL,
    due_at       timestamptz NOT NULL,
    source       jsonb NOT NULL,
    PRIMARY KEY (detector, subject_kind, subject_id)
);
CREATE INDEX watch_timers_due ON watch_timers (due_at);

-- Who lives alone and asked to be looked after: opt-in, with their own hours (local), until they say otherwise.
CREATE TABLE welfare_watches (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    unit_id       integer NOT NULL REFERENCES units ON DELETE RESTRICT,
    resident_id   integer NOT NULL REFERENCES residents ON DELETE RESTRICT,
    quiet_hours   real NOT NULL CHECK (quiet_hours BETWEEN 4 AND 72),
    awake_from    time NOT NULL,
    awake_to      time NOT NULL CHECK (awake_to > awake_from),
    consented_at  timestamptz NOT NULL,
    consented_by  text NOT NULL,
    ended_at      timestamptz,
    ended_by      text
);
CREATE UNIQUE INDEX welfare_watches_open ON welfare_watches (unit_id) WHERE ended_at IS NULL;

-- Telling people: each change of an alert is planned once; what is to be sent is a row until it was sent.
CREATE TABLE notice_queue (
    seq bigint PRIMARY KEY REFERENCES alert_changes ON DELETE RESTRICT
);
CREATE FUNCTION queue_notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notice_queue VALUES (NEW.seq);
    RETURN NEW;
END
$$;
CREATE TRIGGER alert_changes_notice AFTER INSERT ON alert_changes FOR EACH ROW EXECUTE FUNCTION queue_notice();

CREATE TABLE channel_states (
    channel       text PRIMARY KEY,
    failing_since timestamptz,
    disabled_at   timestamptz,
    disabled_why  text,
    blocked_until timestamptz
);

CREATE TABLE deliveries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL UNIQUE,
    channel    text NOT NULL,
    rule       text NOT NULL,
    recipient  text NOT NULL DEFAULT '',
    alert_id   bigint NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    seq        bigint NOT NULL,
    urgent     boolean NOT NULL,
    unless     text NOT NULL CHECK (unless IN ('never', 'acknowledged', 'over')),
    subject    text NOT NULL,
    body       text NOT NULL,
    made_at    timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer NOT NULL DEFAULT 0,
    result     text CHECK (result IN ('sent', 'dropped', 'failed')),
    result_at  timestamptz,
    detail     text,
    bundle     text
);
CREATE INDEX deliveries_due ON deliveries (channel, due_at) WHERE result IS NULL;
CREATE INDEX deliveries_alert ON deliveries (alert_id, channel, id);
CREATE INDEX deliveries_sent ON deliveries (channel, result_at) WHERE result = 'sent';

CREATE TABLE push_subscriptions (
    endpoint   text PRIMARY KEY,
    user_id    integer NOT NULL REFERENCES users ON DELETE CASCADE,
    keys       jsonb NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now()
);
