-- The way down to gateways: commands under an audit id, lists of who may pass a door, and the gateways' own identities.

ALTER TABLE gateway_state ADD COLUMN lost bigint;

CREATE TABLE commands (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code       text        NOT NULL UNIQUE,
    device_id  integer     NOT NULL REFERENCES devices ON DELETE RESTRICT,
    kind       text        NOT NULL CHECK (kind IN ('valve', 'door', 'credentials')),
    argument   jsonb       NOT NULL,
    issued_by  text        NOT NULL,
    reason     text        NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    sends      integer     NOT NULL DEFAULT 0,
    sent_at    timestamptz,
    result     text CHECK (result IN ('done', 'expired', 'refused', 'failed', 'unknown')),
    detail     text,
    result_at  timestamptz
);
CREATE INDEX commands_open ON commands (sent_at) WHERE result IS NULL;
CREATE INDEX commands_device ON commands (device_id, id);

-- The list that a door was last given, and the command that carries it; who is on it follows from tenancies.
CREATE TABLE door_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text        NOT NULL,
    people     integer     NOT NULL,
    command_id bigint      NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);

-- A claim code is stored as its hash only, and works once.
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
    renewed     text REFERENCES gateway_certificates ON DELETE RESTRICT,
    revoked_at  timestamptz,
    revoked_why text
);
CREATE INDEX gateway_certificates_gateway ON gateway_certificates (gateway_id, issued_at);
