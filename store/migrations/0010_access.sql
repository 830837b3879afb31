-- Who people and machines are: what they reach and how long, second factors, machine keys, and answers that are given once.

-- What a log-in reaches, from when to when: a jurisdiction with all below it, one estate, or (both NULL) every estate.
CREATE TABLE reaches (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         integer NOT NULL REFERENCES users ON DELETE CASCADE,
    jurisdiction_id integer REFERENCES jurisdictions ON DELETE RESTRICT,
    estate_id       integer REFERENCES estates ON DELETE RESTRICT,
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_to        timestamptz CHECK (valid_to > valid_from),
    granted_by      text NOT NULL,
    CHECK (num_nonnulls(jurisdiction_id, estate_id) <= 1)
);
CREATE INDEX reaches_user ON reaches (user_id);
INSERT INTO reaches (user_id, jurisdiction_id, estate_id, valid_from, granted_by)
SELECT id, jurisdiction_id, estate_id, created_at, 'migration' FROM users;
ALTER TABLE users DROP COLUMN jurisdiction_id, DROP COLUMN estate_id;

-- A person of the bureau's own directory has no password here but an issuer and a subject. The TOTP secret is sealed.
ALTER TABLE users
    ALTER COLUMN password_hash DROP NOT NULL,
    ADD COLUMN issuer         text,
    ADD COLUMN subject        text,
    ADD COLUMN totp_sealed    bytea,
    ADD COLUMN totp_confirmed boolean NOT NULL DEFAULT false,
    ADD COLUMN totp_step      bigint NOT NULL DEFAULT 0,
    ADD CHECK (password_hash IS NOT NULL OR issuer IS NOT NULL),
    ADD CHECK ((issuer IS NULL) = (subject IS NULL));
CREATE UNIQUE INDEX users_subject ON users (issuer, subject);
CREATE INDEX users_name ON users (lower(name));

ALTER TABLE sessions
    ADD COLUMN second_factor boolean NOT NULL DEFAULT false,
    ADD COLUMN seen_at       timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN old_hash      bytea UNIQUE,
    ADD COLUMN rotated_at    timestamptz NOT NULL DEFAULT now();

-- A machine's key acts for a log-in, with no more than these actions. Its text is shown once and kept as a hash.
CREATE TABLE api_keys (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      integer NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text NOT NULL,
    token_hash   bytea NOT NULL UNIQUE,
    hint         text NOT NULL,
    actions      text[] NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now(),
    made_by      text NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id, id);

-- Log-ins at the bureau's directory that are under way: state, nonce and PKCE verifier, for ten minutes and one use.
CREATE TABLE sign_ins (
    state      text PRIMARY KEY,
    nonce      text NOT NULL,
    verifier   text NOT NULL,
    browser    bytea NOT NULL,
    expires_at timestamptz NOT NULL
);

-- The answer to a request that came with an Idempotency-Key, written in the transaction of what it did.
CREATE TABLE given_answers (
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    key     text    NOT NULL,
    digest  bytea   NOT NULL,
    status  integer,
    answer  jsonb,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX given_answers_age ON given_answers (made_at);

-- A file that was made to be fetched once or twice by whoever holds its address.
CREATE TABLE exports (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    integer NOT NULL REFERENCES users ON DELETE CASCADE,
    kind       text NOT NULL,
    name       text NOT NULL,
    content    bytea NOT NULL,
    secret     bytea NOT NULL,
    rows       integer NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX exports_user ON exports (user_id, id);

CREATE INDEX estates_jurisdiction ON estates (jurisdiction_id);
CREATE INDEX jurisdictions_parent ON jurisdictions (parent_id);
CREATE INDEX units_entrance ON units (entrance_id);
CREATE INDEX mounts_entrance ON mounts (entrance_id);
CREATE INDEX gateways_estate ON gateways (estate_id);
CREATE INDEX devices_gateway ON devices (gateway_id, code);
CREATE INDEX alerts_open_by_id ON alerts (id) WHERE ended_at IS NULL;
CREATE INDEX alerts_folding ON alerts (estate_id, detector, alert_class, suppression) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_class ON alerts (alert_class, estate_id, id DESC);
CREATE INDEX leads_by_score ON alerts (estate_id, score DESC) WHERE ended_at IS NULL AND alert_class = 'compliance';

-- The estates that a log-in reaches now.
CREATE FUNCTION reach_of(who integer) RETURNS integer[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE held AS (
        SELECT jurisdiction_id, estate_id FROM reaches
        WHERE user_id = who AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
    ), area AS (
        SELECT jurisdiction_id AS id FROM held WHERE jurisdiction_id IS NOT NULL
        UNION SELECT j.id FROM jurisdictions j JOIN area a ON j.parent_id = a.id
    )
    SELECT coalesce(array_agg(e.id ORDER BY e.id), '{}') FROM estates e
    WHERE e.id IN (SELECT estate_id FROM held) OR e.jurisdiction_id IN (SELECT id FROM area)
       OR EXISTS (SELECT FROM held WHERE num_nonnulls(jurisdiction_id, estate_id) = 0)
$$;

CREATE FUNCTION reaches_everywhere(who integer) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM reaches WHERE user_id = who AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
                   AND num_nonnulls(jurisdiction_id, estate_id) = 0)
$$;

-- Secrets that the site makes for itself, once: `cursor` hides how much happens elsewhere in a stream's place.
CREATE TABLE site_secrets (
    name   text PRIMARY KEY,
    secret bytea NOT NULL
);
INSERT INTO site_secrets VALUES ('cursor', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Two who speak with one gateway's credential, when it was last seen; and a revocation is a change of the register that ingest hears of.
ALTER TABLE gateway_state ADD COLUMN forked_at timestamptz;
-- The API writes certificates and has no business with the number itself.
ALTER FUNCTION raise_register_version() SECURITY DEFINER SET search_path = public, pg_temp;
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON gateway_certificates
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
CREATE INDEX quarantine_received ON quarantine (received_at);

-- A visit's estate, so that a city's list of visits is cut to a reader's estates by an index of its own.
ALTER TABLE visits ADD COLUMN estate_id integer REFERENCES estates ON DELETE RESTRICT;
UPDATE visits v SET estate_id = u.estate_id FROM units u WHERE u.id = v.unit_id;
ALTER TABLE visits ALTER COLUMN estate_id SET NOT NULL;
CREATE INDEX visits_estate ON visits (estate_id, id);
CREATE FUNCTION note_visits_estate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.estate_id := (SELECT estate_id FROM units WHERE id = NEW.unit_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER note_estate BEFORE INSERT OR UPDATE OF unit_id ON visits FOR EACH ROW EXECUTE FUNCTION note_visits_estate();
