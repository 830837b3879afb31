-- The way down to gateways: commands, the lists that doors were given, and the gateways' own
-- identities.

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
COMMENT ON TABLE commands IS 'Commands to devices. The row is the truth; MQTT only carries it.';
COMMENT ON COLUMN commands.id IS 'Row key.';
COMMENT ON COLUMN commands.code IS 'Audit id that the gateway reports back.';
COMMENT ON COLUMN commands.device_id IS 'Device that is to act.';
COMMENT ON COLUMN commands.kind IS
    'What it is about: valve, door, credentials (who may pass) or faces (consents).';
COMMENT ON COLUMN commands.argument IS 'Argument of the command, by kind.';
COMMENT ON COLUMN commands.issued_by IS 'Log-in or service that gave it.';
COMMENT ON COLUMN commands.reason IS 'Why it was given.';
COMMENT ON COLUMN commands.issued_at IS 'Instant at which it was given.';
COMMENT ON COLUMN commands.expires_at IS 'Instant after which it must not be done.';
COMMENT ON COLUMN commands.sends IS 'How often it was sent.';
COMMENT ON COLUMN commands.sent_at IS 'Instant of the last sending; NULL before the first.';
COMMENT ON COLUMN commands.result IS 'What became of it; NULL while it is open.';
COMMENT ON COLUMN commands.detail IS 'The gateway''s words about the result.';
COMMENT ON COLUMN commands.result_at IS 'Instant at which the result came.';

CREATE TABLE door_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text        NOT NULL,
    people     integer     NOT NULL,
    command_id bigint      NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE door_lists IS
    'The list of credentials that a door was last given. Who is on it follows from tenancies.';
COMMENT ON COLUMN door_lists.device_id IS 'The door.';
COMMENT ON COLUMN door_lists.digest IS 'SHA-256 of the list, hex.';
COMMENT ON COLUMN door_lists.people IS 'Number of entries.';
COMMENT ON COLUMN door_lists.command_id IS 'Command that carries the list.';
COMMENT ON COLUMN door_lists.made_at IS 'Instant at which it was made.';

CREATE TABLE gateway_claims (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    code_hash  bytea       NOT NULL UNIQUE,
    made_at    timestamptz NOT NULL DEFAULT now(),
    made_by    text        NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
COMMENT ON TABLE gateway_claims IS 'Claim codes with which a gateway enrols, once each.';
COMMENT ON COLUMN gateway_claims.id IS 'Row key.';
COMMENT ON COLUMN gateway_claims.gateway_id IS 'Gateway that may enrol.';
COMMENT ON COLUMN gateway_claims.code_hash IS
    'SHA-256 of the code; the code itself is shown once and not stored.';
COMMENT ON COLUMN gateway_claims.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN gateway_claims.made_by IS 'Log-in that made it.';
COMMENT ON COLUMN gateway_claims.expires_at IS 'Instant after which it is refused.';
COMMENT ON COLUMN gateway_claims.used_at IS 'Instant at which it was used; NULL before.';

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
COMMENT ON TABLE gateway_certificates IS 'Certificates that gateways were issued.';
COMMENT ON COLUMN gateway_certificates.serial IS 'Serial number of the certificate, hex.';
COMMENT ON COLUMN gateway_certificates.gateway_id IS 'Gateway that it identifies.';
COMMENT ON COLUMN gateway_certificates.issued_at IS 'Instant of issue.';
COMMENT ON COLUMN gateway_certificates.valid_to IS 'Instant at which it runs out.';
COMMENT ON COLUMN gateway_certificates.renewed IS
    'Serial of the certificate with which it was renewed; NULL for one from a claim code.';
COMMENT ON COLUMN gateway_certificates.revoked_at IS
    'Instant of revocation; NULL while it is good.';
COMMENT ON COLUMN gateway_certificates.revoked_why IS 'Reason of the revocation.';

-- A revocation is a change of the register that ingest has to learn of.
CREATE TRIGGER raise_version AFTER INSERT OR UPDATE OR DELETE ON gateway_certificates
    FOR EACH STATEMENT EXECUTE FUNCTION raise_register_version();
