-- Notices to people: each change of an alert is planned once; what is to be sent is a row until it was sent.

CREATE TABLE notice_queue (
    seq bigint PRIMARY KEY REFERENCES alert_changes ON DELETE RESTRICT
);

CREATE FUNCTION queue_notice() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO notice_queue VALUES (NEW.seq);
    RETURN NEW;
END
$$;
CREATE TRIGGER alert_changes_notice AFTER INSERT ON alert_changes
    FOR EACH ROW EXECUTE FUNCTION queue_notice();

CREATE TABLE channel_states (
    channel       text PRIMARY KEY,
    failing_since timestamptz,
    disabled_at   timestamptz,
    disabled_why  text,
    blocked_until timestamptz
);

CREATE TABLE notice_deliveries (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text        NOT NULL UNIQUE,
    channel    text        NOT NULL,
    rule       text        NOT NULL,
    recipient  text        NOT NULL DEFAULT '',
    alert_id   bigint      NOT NULL REFERENCES alerts ON DELETE RESTRICT,
    seq        bigint      NOT NULL,
    urgent     boolean     NOT NULL,
    unless     text        NOT NULL CHECK (unless IN ('never', 'acknowledged', 'over')),
    subject    text        NOT NULL,
    body       text        NOT NULL,
    made_at    timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    attempts   integer     NOT NULL DEFAULT 0,
    result     text        CHECK (result IN ('sent', 'dropped', 'failed')),
    result_at  timestamptz,
    detail     text,
    bundle     text
);
CREATE INDEX notice_deliveries_due ON notice_deliveries (channel, due_at) WHERE result IS NULL;
CREATE INDEX notice_deliveries_alert ON notice_deliveries (alert_id, channel, id);
CREATE INDEX notice_deliveries_sent ON notice_deliveries (channel, result_at) WHERE result = 'sent';

CREATE TABLE push_subscriptions (
    endpoint text PRIMARY KEY,
    user_id  integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    keys     jsonb       NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
