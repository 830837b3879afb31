-- Faces, as far as the server knows of them: who consented to what, and what gateways report that they store.
-- No picture, no template and no key is in the database.

-- Impact assessments on file (人脸识别技术应用安全管理办法, in force 2025-06-01, art. 9; PIPL art. 55 and 56: kept for
-- at least three years).
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

-- A consent that ended never comes back: a new one has another code. For a child under fourteen a guardian gives it.
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
CREATE INDEX face_consents_entrance ON people.face_consents (entrance_id) WHERE withdrawn_at IS NULL;

CREATE TABLE people.face_templates (
    consent_id integer     NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);

CREATE TABLE people.face_proofs (
    consent_id integer     NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer     NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    proven_at  timestamptz NOT NULL,
    command    text        NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);

CREATE TABLE people.face_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text        NOT NULL,
    consents   integer     NOT NULL,
    command_id bigint      NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);

-- At 100,000 stored people a filing is due within thirty working days (办法 art. 15).
CREATE TABLE people.face_counts (
    day      date PRIMARY KEY,
    subjects bigint NOT NULL
);

CREATE TABLE people.face_filings (
    crossed_on date PRIMARY KEY,
    due_on     date NOT NULL,
    filed_on   date,
    reference  text,
    filed_by   text,
    CHECK ((filed_on IS NULL) = (reference IS NULL))
);
