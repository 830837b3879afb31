-- What a transaction says of itself: the instant it works at, and the principal it reads for. The
-- API logs in as the role anju_api and sets the values below; row_security.sql says what it may see
-- with them.

DO $$
BEGIN
    CREATE ROLE anju_api
        LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role anju_api is missing and this log-in may not make it: '
            'let an administrator of the server run '
            'CREATE ROLE anju_api LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT, '
            'then migrate again';
END
$$;
GRANT USAGE ON SCHEMA public TO anju_api;

-- The clock of the nightly run. A night that is run again for a past day sets it; everybody else
-- reads the real clock.
CREATE FUNCTION anju_now() RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(
        nullif(current_setting('anju.clock', true), '')::timestamptz,
        clock_timestamp()
    )
$$;

-- The settings are local to the transaction, so a pooled connection never carries them on. Without
-- them nothing is visible.
CREATE FUNCTION anju_scope() RETURNS integer[]
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(
        string_to_array(nullif(current_setting('anju.scope', true), ''), ',')::integer[],
        '{}'
    )
$$;

CREATE FUNCTION anju_permissions() RETURNS text[]
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(
        string_to_array(nullif(current_setting('anju.permissions', true), ''), ','),
        '{}'
    )
$$;

CREATE FUNCTION anju_permits(permission text) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT permission = ANY (anju_permissions())
$$;

CREATE FUNCTION anju_user() RETURNS integer
LANGUAGE sql STABLE
AS $$
    SELECT nullif(current_setting('anju.user', true), '')::integer
$$;

-- True while the principal is still being found out: at sign-in, and for a gateway with its claim
-- code or old certificate.
CREATE FUNCTION anju_signing_in() RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(current_setting('anju.signing_in', true), '') = 'yes'
$$;

CREATE FUNCTION anju_all_estates() RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(current_setting('anju.all_estates', true), '') = 'yes'
$$;
