-- The record of who did what to whose data and why: appended to by one function, each entry chained to the one before it.

CREATE TABLE audit_log (
    seq     bigint PRIMARY KEY,
    at      timestamptz NOT NULL,
    entry   jsonb  NOT NULL,
    prev    bytea  NOT NULL,
    hash    bytea  NOT NULL,
    actor   text   GENERATED ALWAYS AS (entry ->> 'actor') STORED,
    action  text   GENERATED ALWAYS AS (entry ->> 'action') STORED,
    object  text   GENERATED ALWAYS AS (entry ->> 'object') STORED,
    subject text   GENERATED ALWAYS AS (entry ->> 'subject') STORED,
    -- The estate that it is about; NULL for the site's own affairs, which only those see who reach everything.
    estate_id integer
);
CREATE INDEX audit_log_actor ON audit_log (actor, seq DESC);
CREATE INDEX audit_log_action ON audit_log (action, seq DESC);
CREATE INDEX audit_log_subject ON audit_log (subject, seq DESC) WHERE subject IS NOT NULL;
CREATE INDEX audit_log_estate ON audit_log (estate_id, seq DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever appended to', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- SHA-256 over the hash before it, the number, the estate and the entry's text as PostgreSQL prints it (keys in one order, one space).
CREATE FUNCTION audit_hash(prev bytea, seq bigint, estate_id integer, entry jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(prev || convert_to(seq::text || '|' || coalesce(estate_id::text, '') || '|' || entry::text, 'UTF8'))
$$;

-- One writer at a time: the lock ends with the transaction, so that numbers have no holes and what is not committed is not chained.
CREATE FUNCTION append_audit(what jsonb, about_estate integer) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    last audit_log%ROWTYPE;
    number bigint;
    moment timestamptz;
    full_entry jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('anju audit', 0));
    SELECT * INTO last FROM audit_log ORDER BY seq DESC LIMIT 1;
    number := coalesce(last.seq, 0) + 1;
    moment := clock_timestamp();
    full_entry := jsonb_strip_nulls(what) || jsonb_build_object('at_ms', (extract(epoch FROM moment) * 1000)::bigint);
    INSERT INTO audit_log (seq, at, entry, prev, hash, estate_id)
    VALUES (number, moment, full_entry, coalesce(last.hash, '\x'), audit_hash(coalesce(last.hash, '\x'), number, about_estate, full_entry), about_estate);
    RETURN number;
END
$$;

-- Each nightly check, and the head it saw: a chain that was cut off behind a head is found by the next one.
CREATE TABLE audit_checks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checked_at timestamptz NOT NULL DEFAULT now(),
    seq        bigint  NOT NULL,
    hash       bytea   NOT NULL,
    broken_at  bigint,
    why        text
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_checks FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit_checks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
