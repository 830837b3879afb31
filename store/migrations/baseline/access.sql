-- Log-ins of people and machines, what they are granted, their sessions and keys, and answers that
-- are given once.

-- A log-in has a password here, or an issuer and a subject at the bureau's identity provider.
CREATE TABLE users (
    id                   integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name                 text        NOT NULL UNIQUE,
    password_hash        text,
    role                 text        NOT NULL,
    must_change_password boolean     NOT NULL DEFAULT true,
    failures             integer     NOT NULL DEFAULT 0,
    locked_until         timestamptz,
    disabled_at          timestamptz,
    created_at           timestamptz NOT NULL DEFAULT now(),
    issuer               text,
    subject              text,
    totp_sealed          bytea,
    totp_confirmed       boolean     NOT NULL DEFAULT false,
    totp_step            bigint      NOT NULL DEFAULT 0,
    CHECK (password_hash IS NOT NULL OR issuer IS NOT NULL),
    CHECK ((issuer IS NULL) = (subject IS NULL))
);
CREATE UNIQUE INDEX users_subject ON users (issuer, subject);
CREATE INDEX users_name ON users (lower(name));
COMMENT ON TABLE users IS 'Log-ins of people and machines.';
COMMENT ON COLUMN users.id IS 'Row key.';
COMMENT ON COLUMN users.name IS 'Name to sign in with, unique.';
COMMENT ON COLUMN users.password_hash IS
    'Hash of the password; NULL where an identity provider signs the person in.';
COMMENT ON COLUMN users.role IS
    'What the principal does for a living (domain/access.py); it decides which actions are '
    'allowed.';
COMMENT ON COLUMN users.must_change_password IS
    'True until the password that was generated has been changed.';
COMMENT ON COLUMN users.failures IS 'Failed sign-ins in a row.';
COMMENT ON COLUMN users.locked_until IS
    'Instant until which sign-in is refused after failures; NULL where it is not.';
COMMENT ON COLUMN users.disabled_at IS
    'Instant at which the log-in was disabled; NULL while it is good.';
COMMENT ON COLUMN users.created_at IS 'Instant at which it was made.';
COMMENT ON COLUMN users.issuer IS
    'Identity provider that signs the person in; NULL for a password.';
COMMENT ON COLUMN users.subject IS 'The provider''s id of the person.';
COMMENT ON COLUMN users.totp_sealed IS 'Secret of the second factor (TOTP), encrypted.';
COMMENT ON COLUMN users.totp_confirmed IS 'True once a code of it was given.';
COMMENT ON COLUMN users.totp_step IS
    'Number of the last time step whose code was used; none works twice.';

-- A jurisdiction with all below it, one estate, or (both NULL) every estate.
CREATE TABLE grants (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id         integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    jurisdiction_id integer     REFERENCES jurisdictions ON DELETE RESTRICT,
    estate_id       integer     REFERENCES estates ON DELETE RESTRICT,
    valid_from      timestamptz NOT NULL DEFAULT now(),
    valid_to        timestamptz CHECK (valid_to > valid_from),
    granted_by      text        NOT NULL,
    CHECK (num_nonnulls(jurisdiction_id, estate_id) <= 1)
);
CREATE INDEX grants_user ON grants (user_id);
COMMENT ON TABLE grants IS
    'What a log-in is granted, from when to when: a jurisdiction with all below it, one estate, '
    'or (both NULL) every estate.';
COMMENT ON COLUMN grants.id IS 'Row key.';
COMMENT ON COLUMN grants.user_id IS 'The log-in.';
COMMENT ON COLUMN grants.jurisdiction_id IS 'Area that is granted.';
COMMENT ON COLUMN grants.estate_id IS 'Estate that is granted.';
COMMENT ON COLUMN grants.valid_from IS 'First instant.';
COMMENT ON COLUMN grants.valid_to IS 'Instant at which it ends; NULL for no end.';
COMMENT ON COLUMN grants.granted_by IS 'Log-in that granted it.';

-- The estates that a log-in is granted now.
CREATE FUNCTION granted_estates(principal_id integer) RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    WITH RECURSIVE
    current_grants AS (
        SELECT jurisdiction_id, estate_id
        FROM grants
        WHERE user_id = principal_id
          AND valid_from <= now()
          AND (valid_to IS NULL OR valid_to > now())
    ),
    area AS (
        SELECT jurisdiction_id AS id
        FROM current_grants
        WHERE jurisdiction_id IS NOT NULL
        UNION
        SELECT j.id
        FROM jurisdictions j
        JOIN area a ON j.parent_id = a.id
    )
    SELECT coalesce(array_agg(e.id ORDER BY e.id), '{}')
    FROM estates e
    WHERE e.id IN (SELECT estate_id FROM current_grants)
       OR e.jurisdiction_id IN (SELECT id FROM area)
       OR EXISTS (SELECT FROM current_grants WHERE num_nonnulls(jurisdiction_id, estate_id) = 0)
$$;

-- Whether a log-in is granted every estate, now and to come.
CREATE FUNCTION granted_all_estates(principal_id integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT
        FROM grants
        WHERE user_id = principal_id
          AND valid_from <= now()
          AND (valid_to IS NULL OR valid_to > now())
          AND num_nonnulls(jurisdiction_id, estate_id) = 0
    )
$$;

CREATE TABLE sessions (
    token_hash    bytea PRIMARY KEY,
    user_id       integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    csrf          text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz NOT NULL,
    second_factor boolean     NOT NULL DEFAULT false,
    seen_at       timestamptz NOT NULL DEFAULT now(),
    old_hash      bytea       UNIQUE,
    rotated_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sessions IS 'Sessions of browsers that are signed in.';
COMMENT ON COLUMN sessions.token_hash IS 'SHA-256 of the session''s token.';
COMMENT ON COLUMN sessions.user_id IS 'The log-in.';
COMMENT ON COLUMN sessions.csrf IS 'Token that a change has to carry, against cross-site requests.';
COMMENT ON COLUMN sessions.created_at IS 'Instant of the sign-in.';
COMMENT ON COLUMN sessions.expires_at IS 'Instant at which it ends in any case.';
COMMENT ON COLUMN sessions.second_factor IS 'True once the second factor was given.';
COMMENT ON COLUMN sessions.seen_at IS 'Instant of the last request, to a minute.';
COMMENT ON COLUMN sessions.old_hash IS
    'SHA-256 of the token before, which holds for a minute more; NULL before the first rotation.';
COMMENT ON COLUMN sessions.rotated_at IS 'Instant at which the token was last replaced.';

CREATE TABLE api_keys (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id      integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text        NOT NULL,
    token_hash   bytea       NOT NULL UNIQUE,
    hint         text        NOT NULL,
    actions      text[]      NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now(),
    made_by      text        NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id, id);
COMMENT ON TABLE api_keys IS 'Keys with which machines act for a log-in, limited to some actions.';
COMMENT ON COLUMN api_keys.id IS 'Row key.';
COMMENT ON COLUMN api_keys.user_id IS 'The log-in.';
COMMENT ON COLUMN api_keys.name IS 'Name for people.';
COMMENT ON COLUMN api_keys.token_hash IS 'SHA-256 of the key, which is shown once.';
COMMENT ON COLUMN api_keys.hint IS 'First characters of the key, to tell keys apart.';
COMMENT ON COLUMN api_keys.actions IS
    'Actions that it allows, at most those of the log-in''s role.';
COMMENT ON COLUMN api_keys.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN api_keys.made_by IS 'Log-in that made it.';
COMMENT ON COLUMN api_keys.expires_at IS 'Instant at which it runs out.';
COMMENT ON COLUMN api_keys.last_used_at IS 'Instant of the last use; NULL before the first.';
COMMENT ON COLUMN api_keys.revoked_at IS 'Instant of revocation; NULL while it is good.';

-- Sign-ins at the bureau's identity provider that are under way: for ten minutes and one use.
CREATE TABLE sign_in_attempts (
    state      text PRIMARY KEY,
    nonce      text        NOT NULL,
    verifier   text        NOT NULL,
    browser    bytea       NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE sign_in_attempts IS
    'Sign-ins at the identity provider that are under way (OpenID Connect), for ten minutes and '
    'one use.';
COMMENT ON COLUMN sign_in_attempts.state IS 'The request''s state parameter.';
COMMENT ON COLUMN sign_in_attempts.nonce IS 'Nonce that the ID token has to carry.';
COMMENT ON COLUMN sign_in_attempts.verifier IS 'PKCE code verifier.';
COMMENT ON COLUMN sign_in_attempts.browser IS
    'SHA-256 of a cookie: only the browser that began may end it.';
COMMENT ON COLUMN sign_in_attempts.expires_at IS 'Instant after which it is refused.';

-- The answer is written in the transaction of what the request did.
CREATE TABLE idempotency_keys (
    user_id         integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    key             text        NOT NULL,
    request_digest  bytea       NOT NULL,
    response_status integer,
    response        jsonb,
    made_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (made_at);
COMMENT ON TABLE idempotency_keys IS
    'Requests that came with an Idempotency-Key, and their answers. Written in the transaction of '
    'what the request did.';
COMMENT ON COLUMN idempotency_keys.user_id IS 'The log-in that asked.';
COMMENT ON COLUMN idempotency_keys.key IS 'The header''s value.';
COMMENT ON COLUMN idempotency_keys.request_digest IS
    'SHA-256 of the request; another request under the same key is refused.';
COMMENT ON COLUMN idempotency_keys.response_status IS
    'HTTP status of the answer; NULL while the request is at work.';
COMMENT ON COLUMN idempotency_keys.response IS 'The answer.';
COMMENT ON COLUMN idempotency_keys.made_at IS 'Instant of the request.';

CREATE TABLE exports (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    integer     NOT NULL REFERENCES users ON DELETE CASCADE,
    kind       text        NOT NULL,
    name       text        NOT NULL,
    content    bytea       NOT NULL,
    secret     bytea       NOT NULL,
    rows       integer     NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX exports_user ON exports (user_id, id);
COMMENT ON TABLE exports IS 'Files that can be fetched once or twice by whoever has their address.';
COMMENT ON COLUMN exports.id IS 'Row key.';
COMMENT ON COLUMN exports.user_id IS 'Log-in that asked for it.';
COMMENT ON COLUMN exports.kind IS 'What it contains.';
COMMENT ON COLUMN exports.name IS 'File name.';
COMMENT ON COLUMN exports.content IS 'The file.';
COMMENT ON COLUMN exports.secret IS 'SHA-256 of the secret part of its address.';
COMMENT ON COLUMN exports.rows IS 'Number of rows in it.';
COMMENT ON COLUMN exports.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN exports.expires_at IS 'Instant after which it is gone.';

-- `cursor` hides in a stream's position how much happens in other estates.
CREATE TABLE site_secrets (
    name   text PRIMARY KEY,
    secret bytea NOT NULL
);
COMMENT ON TABLE site_secrets IS 'Secrets that the site makes for itself, once.';
COMMENT ON COLUMN site_secrets.name IS
    'What it is for. cursor hides in a stream''s position how much happens in other estates.';
COMMENT ON COLUMN site_secrets.secret IS 'The secret.';
INSERT INTO site_secrets
VALUES ('cursor', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
