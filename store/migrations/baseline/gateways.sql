-- The way down to gateways: commands, the lists that doors were given, and the gateways' own identities.

CREATE TABLE commands (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code       text        NOT NULL UNIQUE,
    device_id  integer     NOT NULL REFERENCES devices ON DELETE RESTRICT,
    kind       text        NOT NULL CHECK (kind IN ('valve', 'door', 'credentials', 'faces')),
    argument   jsonb       NOT NULL,
    issued_by  text        NOT NULL,
    reason     text        NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    sends      integer     NOT NULL DEFAULT 0,
    sent_at    timestamptz,
    result     text        CHECK (result IN ('done', 'expired', 'refused', 'failed', 'unknown')),
    detail     text,
    result_at  timestamptz
);
CREATE INDEX commands_open ON commands (sent_at) WHERE result IS NULL;
CREATE INDEX commands_device ON commands (device_id, id);

CREATE TABLE door_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text        NOT NULL,
    people     integer     NOT NULL,
    command_id bigint      NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gateway_claims (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    code_hash  bytea       NOT NULL UNIQUE,
    made_at    timestamptz NOT NULL DEFAULT now(),
    made_by    text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE TABLE gateway_certificates (
    serial      text PRIMARY KEY,
    gateway_id  integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    valid_to    timestamptz NOT NULL,
    renewed     text        REFERENCES gateway_certificates ON DELETE RESTRICT,
    revoked_at  timestamptz,
    revoked_why text
);
CREATE INDEX gateway_certificates_gateway ON gateway_certificates (gateway_id, issued_at);

-- A revocation is a change of the register that ingest has to learn of.
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON gateway_certificates
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
