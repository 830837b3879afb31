-- Who did what to whose data, and why. One function appends; each entry is chained to the one
-- before it.

CREATE TABLE audit_log (
    seq       bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    entry     jsonb       NOT NULL,
    prev      bytea       NOT NULL,
    hash      bytea       NOT NULL,
    actor     text        GENERATED ALWAYS AS (entry ->> 'actor') STORED,
    action    text        GENERATED ALWAYS AS (entry ->> 'action') STORED,
    object    text        GENERATED ALWAYS AS (entry ->> 'object') STORED,
    subject   text        GENERATED ALWAYS AS (entry ->> 'subject') STORED,
    estate_id integer
);
CREATE INDEX audit_log_actor ON audit_log (actor, seq DESC);
CREATE INDEX audit_log_action ON audit_log (action, seq DESC);
CREATE INDEX audit_log_subject ON audit_log (subject, seq DESC) WHERE subject IS NOT NULL;
CREATE INDEX audit_log_estate ON audit_log (estate_id, seq DESC);
COMMENT ON TABLE audit_log IS
    'Record of who did what to whose data, and why. Appended by append_audit(), chained, never '
    'changed.';
COMMENT ON COLUMN audit_log.seq IS 'Number of the entry, without holes.';
COMMENT ON COLUMN audit_log.at IS 'Instant at which it was appended.';
COMMENT ON COLUMN audit_log.entry IS 'The entry.';
COMMENT ON COLUMN audit_log.prev IS 'Hash of the entry before.';
COMMENT ON COLUMN audit_log.hash IS 'SHA-256 over prev, seq, estate_id and entry (audit_hash()).';
COMMENT ON COLUMN audit_log.actor IS 'Who did it, from the entry.';
COMMENT ON COLUMN audit_log.action IS 'What was done, from the entry.';
COMMENT ON COLUMN audit_log.object IS 'What it was done to, from the entry.';
COMMENT ON COLUMN audit_log.subject IS 'Whose data it was, from the entry.';
COMMENT ON COLUMN audit_log.estate_id IS
    'Estate that it is about; NULL for the site''s own affairs.';

-- Each nightly check of the chain, with the last entry it saw. The next check finds a chain that
-- was cut off behind it.
CREATE TABLE audit_checks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checked_at timestamptz NOT NULL DEFAULT now(),
    seq        bigint      NOT NULL,
    hash       bytea       NOT NULL,
    broken_at  bigint,
    why        text
);
COMMENT ON TABLE audit_checks IS 'Nightly checks of the chain, with the last entry that each saw.';
COMMENT ON COLUMN audit_checks.id IS 'Row key.';
COMMENT ON COLUMN audit_checks.checked_at IS 'Instant of the check.';
COMMENT ON COLUMN audit_checks.seq IS 'Number of the last entry.';
COMMENT ON COLUMN audit_checks.hash IS 'Hash of the last entry.';
COMMENT ON COLUMN audit_checks.broken_at IS
    'Number of the first entry that does not fit; NULL where the chain is whole.';
COMMENT ON COLUMN audit_checks.why IS 'What does not fit.';

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '% is only ever appended to', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_checks
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit_checks
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- SHA-256 of the hash before it, the number, the estate, and the entry as PostgreSQL prints it
-- (keys in one order).
CREATE FUNCTION audit_hash(prev bytea, seq bigint, estate_id integer, entry jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE
AS $$
    SELECT sha256(
        prev || convert_to(
            seq::text || '|' || coalesce(estate_id::text, '') || '|' || entry::text,
            'UTF8'
        )
    )
$$;

-- The lock lasts until the transaction ends: one writer at a time, so numbers have no holes, and
-- what is rolled back is not chained.
CREATE FUNCTION append_audit(new_entry jsonb, about_estate integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
DECLARE
    last_entry audit_log%ROWTYPE;
    last_hash  bytea;
    number     bigint;
    moment     timestamptz;
    full_entry jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('anju audit', 0));
    SELECT * INTO last_entry FROM audit_log ORDER BY seq DESC LIMIT 1;
    last_hash := coalesce(last_entry.hash, '\x');
    number := coalesce(last_entry.seq, 0) + 1;
    moment := clock_timestamp();
    full_entry := jsonb_strip_nulls(new_entry)
        || jsonb_build_object('at_ms', (extract(epoch FROM moment) * 1000)::bigint);
    INSERT INTO audit_log (seq, at, entry, prev, hash, estate_id)
    VALUES (
        number,
        moment,
        full_entry,
        last_hash,
        audit_hash(last_hash, number, about_estate, full_entry),
        about_estate
    );
    RETURN number;
END
$$;
