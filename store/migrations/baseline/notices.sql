-- Notices to people: each change of an alert is planned once; what is to be sent is a row until it
-- was sent.

CREATE TABLE notice_queue (
    seq bigint PRIMARY KEY REFERENCES alert_changes ON DELETE RESTRICT
);
COMMENT ON TABLE notice_queue IS 'Changes of alerts for which notices are still to be planned.';
COMMENT ON COLUMN notice_queue.seq IS 'The change (alert_changes.seq).';

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
COMMENT ON TABLE channel_states IS 'How each channel of notices does.';
COMMENT ON COLUMN channel_states.channel IS 'Name of the channel.';
COMMENT ON COLUMN channel_states.failing_since IS
    'Instant of the first failure in a row; NULL while it works.';
COMMENT ON COLUMN channel_states.disabled_at IS
    'Instant at which it was switched off; NULL while it is on.';
COMMENT ON COLUMN channel_states.disabled_why IS 'Why it was switched off.';
COMMENT ON COLUMN channel_states.blocked_until IS 'Instant until which nothing is tried.';

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
COMMENT ON TABLE notice_deliveries IS
    'One row per message, recipient and channel, until it was sent and for a while after.';
COMMENT ON COLUMN notice_deliveries.id IS 'Row key.';
COMMENT ON COLUMN notice_deliveries.message_id IS
    'Identity of the message: planned twice, it is one row.';
COMMENT ON COLUMN notice_deliveries.channel IS 'Name of the channel.';
COMMENT ON COLUMN notice_deliveries.rule IS 'Name of the notice rule that asked for it.';
COMMENT ON COLUMN notice_deliveries.recipient IS
    'Address within the channel; empty where the channel has one.';
COMMENT ON COLUMN notice_deliveries.alert_id IS 'The alert.';
COMMENT ON COLUMN notice_deliveries.seq IS 'The change that it reports (alert_changes.seq).';
COMMENT ON COLUMN notice_deliveries.urgent IS 'True where it goes before others.';
COMMENT ON COLUMN notice_deliveries.unless IS
    'What makes it needless: never, acknowledged or over.';
COMMENT ON COLUMN notice_deliveries.subject IS 'Subject line.';
COMMENT ON COLUMN notice_deliveries.body IS 'Text.';
COMMENT ON COLUMN notice_deliveries.made_at IS 'Instant at which it was planned.';
COMMENT ON COLUMN notice_deliveries.due_at IS 'Instant from which it may be sent.';
COMMENT ON COLUMN notice_deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN notice_deliveries.result IS
    'What became of it: sent, dropped or failed; NULL while it is open.';
COMMENT ON COLUMN notice_deliveries.result_at IS 'Instant of the result.';
COMMENT ON COLUMN notice_deliveries.detail IS 'What the channel answered, or why it was dropped.';
COMMENT ON COLUMN notice_deliveries.bundle IS
    'Common name of deliveries that went out as one message; NULL for one alone.';

CREATE TABLE push_subscriptions (
    endpoint text PRIMARY KEY,
    user_id  integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    keys     jsonb       NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE push_subscriptions IS 'Browsers that receive push messages.';
COMMENT ON COLUMN push_subscriptions.endpoint IS 'Address at the browser''s push service.';
COMMENT ON COLUMN push_subscriptions.user_id IS 'The log-in.';
COMMENT ON COLUMN push_subscriptions.keys IS 'Public keys of the browser.';
COMMENT ON COLUMN push_subscriptions.made_at IS 'Instant of the subscription.';
