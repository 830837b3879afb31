-- Faces, as far as the server knows of them: who consented to what, and what gateways report that
-- they store. No picture, no template and no key is in the database.

-- Impact assessments on file (人脸识别技术应用安全管理办法, in force 2025-06-01, art. 9; PIPL art. 55 and 56:
-- kept for at least three years).
CREATE TABLE people.assessments (
    code            text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9-]{3,39}$'),
    estate_id       integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    title           text        NOT NULL,
    done_on         date        NOT NULL,
    review_by       date        NOT NULL CHECK (review_by > done_on),
    approved_by     text        NOT NULL,
    document_sha256 text        NOT NULL CHECK (document_sha256 ~ '^[0-9a-f]{64}$'),
    made_by         text        NOT NULL,
    made_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assessments_estate ON people.assessments (estate_id, code);
COMMENT ON TABLE people.assessments IS
    'Impact assessments on file, without which no consent is recorded.';
COMMENT ON COLUMN people.assessments.code IS 'Code of the assessment.';
COMMENT ON COLUMN people.assessments.estate_id IS 'Estate that it is about.';
COMMENT ON COLUMN people.assessments.title IS 'Title.';
COMMENT ON COLUMN people.assessments.done_on IS 'Day on which it was made.';
COMMENT ON COLUMN people.assessments.review_by IS 'Day by which it has to be reviewed.';
COMMENT ON COLUMN people.assessments.approved_by IS 'Who approved it.';
COMMENT ON COLUMN people.assessments.document_sha256 IS 'SHA-256 of the document, hex.';
COMMENT ON COLUMN people.assessments.made_by IS 'Log-in that recorded it.';
COMMENT ON COLUMN people.assessments.made_at IS 'Instant at which it was recorded.';

-- A consent that ended never comes back: a new one has another code. For a child under fourteen a
-- guardian gives it.
CREATE TABLE people.face_consents (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code          text        NOT NULL UNIQUE CHECK (code ~ '^k-[a-z0-9]{8,40}$'),
    resident_id   integer     NOT NULL REFERENCES residents ON DELETE RESTRICT,
    estate_id     integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    entrance_id   integer     NOT NULL REFERENCES entrances ON DELETE RESTRICT,
    purpose       text        NOT NULL CHECK (purpose IN ('entrance')),
    text_version  text        NOT NULL,
    text_sha256   text        NOT NULL CHECK (text_sha256 ~ '^[0-9a-f]{64}$'),
    assessment    text        NOT NULL REFERENCES people.assessments ON DELETE RESTRICT,
    other_way     text        NOT NULL
                              CHECK (other_way IN ('card', 'code', 'qr', 'id_card', 'phone',
                                                   'fingerprint', 'remote', 'button')),
    under_14      boolean     NOT NULL,
    guardian      text        CHECK (guardian IN ('parent', 'other_guardian')),
    kept_at       text        NOT NULL CHECK (kept_at IN ('gateway', 'terminal')),
    given_at      timestamptz NOT NULL,
    holds_to      date        NOT NULL,
    recorded_by   text        NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    withdrawn_at  timestamptz,
    withdrawn_by  text,
    withdrawn_why text,
    CHECK (NOT under_14 OR guardian IS NOT NULL),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE UNIQUE INDEX face_consents_one ON people.face_consents (resident_id, entrance_id, kept_at)
    WHERE withdrawn_at IS NULL;
CREATE INDEX face_consents_estate ON people.face_consents (estate_id, code);
CREATE INDEX face_consents_entrance ON people.face_consents (entrance_id)
    WHERE withdrawn_at IS NULL;
COMMENT ON TABLE people.face_consents IS 'Consents to face recognition at one entrance.';
COMMENT ON COLUMN people.face_consents.id IS 'Row key.';
COMMENT ON COLUMN people.face_consents.code IS
    'Code of the consent, unique; gateways know it and nothing else.';
COMMENT ON COLUMN people.face_consents.resident_id IS 'Resident who consents.';
COMMENT ON COLUMN people.face_consents.estate_id IS 'Estate of the entrance.';
COMMENT ON COLUMN people.face_consents.entrance_id IS 'Entrance that it is for.';
COMMENT ON COLUMN people.face_consents.purpose IS 'What it is for.';
COMMENT ON COLUMN people.face_consents.text_version IS 'Version of the text that was agreed to.';
COMMENT ON COLUMN people.face_consents.text_sha256 IS 'SHA-256 of that text, hex.';
COMMENT ON COLUMN people.face_consents.assessment IS 'Impact assessment that covers it.';
COMMENT ON COLUMN people.face_consents.other_way IS
    'The way in that the person has beside the face.';
COMMENT ON COLUMN people.face_consents.under_14 IS 'True for a child under fourteen.';
COMMENT ON COLUMN people.face_consents.guardian IS
    'Who consented for the child; NULL for anybody else.';
COMMENT ON COLUMN people.face_consents.kept_at IS
    'Where the template is stored: gateway or terminal.';
COMMENT ON COLUMN people.face_consents.given_at IS 'Instant of the consent.';
COMMENT ON COLUMN people.face_consents.holds_to IS 'Last local day on which it holds.';
COMMENT ON COLUMN people.face_consents.recorded_by IS 'Log-in that recorded it.';
COMMENT ON COLUMN people.face_consents.recorded_at IS 'Instant at which it was recorded.';
COMMENT ON COLUMN people.face_consents.withdrawn_at IS
    'Instant at which it ended; NULL while it stands.';
COMMENT ON COLUMN people.face_consents.withdrawn_by IS 'Who ended it.';
COMMENT ON COLUMN people.face_consents.withdrawn_why IS 'Why it ended.';

CREATE TABLE people.face_templates (
    consent_id integer     NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);
COMMENT ON TABLE people.face_templates IS 'Templates that gateways report to store.';
COMMENT ON COLUMN people.face_templates.consent_id IS 'The consent.';
COMMENT ON COLUMN people.face_templates.gateway_id IS 'The gateway.';
COMMENT ON COLUMN people.face_templates.seen_at IS 'Instant of the last report.';

CREATE TABLE people.face_proofs (
    consent_id integer     NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    proven_at  timestamptz NOT NULL,
    command    text        NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);
COMMENT ON TABLE people.face_proofs IS
    'Proofs that a gateway stores nothing of a consent that ended.';
COMMENT ON COLUMN people.face_proofs.consent_id IS 'The consent.';
COMMENT ON COLUMN people.face_proofs.gateway_id IS 'The gateway.';
COMMENT ON COLUMN people.face_proofs.proven_at IS 'Instant since which it has reported so.';
COMMENT ON COLUMN people.face_proofs.command IS 'Code of the command that it answered.';

CREATE TABLE people.face_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text        NOT NULL,
    consents   integer     NOT NULL,
    command_id bigint      NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE people.face_lists IS
    'The list of consents that a face terminal or camera was last given.';
COMMENT ON COLUMN people.face_lists.device_id IS 'The device.';
COMMENT ON COLUMN people.face_lists.digest IS 'SHA-256 of the list, hex.';
COMMENT ON COLUMN people.face_lists.consents IS 'Number of consents on it.';
COMMENT ON COLUMN people.face_lists.command_id IS 'Command that carries the list.';
COMMENT ON COLUMN people.face_lists.made_at IS 'Instant at which it was made.';

-- At 100,000 stored people a filing is due within thirty working days (办法 art. 15).
CREATE TABLE people.face_counts (
    day      date PRIMARY KEY,
    subjects bigint NOT NULL
);
COMMENT ON TABLE people.face_counts IS 'How many people''s faces are stored, day by day.';
COMMENT ON COLUMN people.face_counts.day IS 'Local day.';
COMMENT ON COLUMN people.face_counts.subjects IS 'Highest number of distinct people on that day.';

CREATE TABLE people.face_filings (
    crossed_on date PRIMARY KEY,
    due_on     date NOT NULL,
    filed_on   date,
    reference  text,
    filed_by   text,
    CHECK ((filed_on IS NULL) = (reference IS NULL))
);
COMMENT ON TABLE people.face_filings IS 'Filings that are due because 100,000 people were reached.';
COMMENT ON COLUMN people.face_filings.crossed_on IS 'Day on which the line was crossed.';
COMMENT ON COLUMN people.face_filings.due_on IS
    'Day by which the filing is due: thirty working days later.';
COMMENT ON COLUMN people.face_filings.filed_on IS 'Day on which it was made; NULL while it is due.';
COMMENT ON COLUMN people.face_filings.reference IS 'The authority''s reference.';
COMMENT ON COLUMN people.face_filings.filed_by IS 'Log-in that recorded it.';
