-- Log-ins of people and machines, what they are granted, their sessions and keys, and answers that are given once.

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

-- Sign-ins at the bureau's identity provider that are under way: for ten minutes and one use.
CREATE TABLE sign_in_attempts (
    state      text PRIMARY KEY,
    nonce      text        NOT NULL,
    verifier   text        NOT NULL,
    browser    bytea       NOT NULL,
    expires_at timestamptz NOT NULL
);

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

-- `cursor` hides in a stream's position how much happens in other estates.
CREATE TABLE site_secrets (
    name   text PRIMARY KEY,
    secret bytea NOT NULL
);
INSERT INTO site_secrets
VALUES ('cursor', sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));
