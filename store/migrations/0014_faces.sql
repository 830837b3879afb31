-- Faces, as far as the server knows of them: who consented to what, and what gateways say they hold. No picture, no template, no key.

-- Impact assessments on file (人脸识别技术应用安全管理办法, in force 2025-06-01, art. 9; PIPL art. 55 and 56: kept three years at least).
CREATE TABLE people.assessments (
    code            text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9-]{3,39}$'),
    estate_id       integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    title           text NOT NULL,
    done_on         date NOT NULL,
    review_by       date NOT NULL CHECK (review_by > done_on),
    approved_by     text NOT NULL,
    document_sha256 text NOT NULL CHECK (document_sha256 ~ '^[0-9a-f]{64}$'),
    made_by         text NOT NULL,
    made_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX assessments_estate ON people.assessments (estate_id, code);

-- A consent is a subject of its own: one that ended never comes back, a new one has another number. Under fourteen a guardian gives it.
CREATE TABLE people.face_consents (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code            text NOT NULL UNIQUE CHECK (code ~ '^k-[a-z0-9]{8,40}$'),
    resident_id     integer NOT NULL REFERENCES residents ON DELETE RESTRICT,
    estate_id       integer NOT NULL REFERENCES estates ON DELETE RESTRICT,
    entrance_id     integer NOT NULL REFERENCES entrances ON DELETE RESTRICT,
    purpose         text NOT NULL CHECK (purpose IN ('entrance')),
    text_version    text NOT NULL,
    text_sha256     text NOT NULL CHECK (text_sha256 ~ '^[0-9a-f]{64}$'),
    assessment      text NOT NULL REFERENCES people.assessments ON DELETE RESTRICT,
    other_way       text NOT NULL CHECK (other_way IN ('card', 'code', 'qr', 'id_card', 'phone', 'fingerprint', 'remote', 'button')),
    under_14        boolean NOT NULL,
    guardian        text CHECK (guardian IN ('parent', 'other_guardian')),
    kept_at         text NOT NULL CHECK (kept_at IN ('gateway', 'terminal')),
    given_at        timestamptz NOT NULL,
    holds_to        date NOT NULL,
    recorded_by     text NOT NULL,
    recorded_at     timestamptz NOT NULL DEFAULT now(),
    withdrawn_at    timestamptz,
    withdrawn_by    text,
    withdrawn_why   text,
    CHECK (NOT under_14 OR guardian IS NOT NULL),
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
CREATE UNIQUE INDEX face_consents_one ON people.face_consents (resident_id, entrance_id, kept_at) WHERE withdrawn_at IS NULL;
CREATE INDEX face_consents_estate ON people.face_consents (estate_id, code);
CREATE INDEX face_consents_entrance ON people.face_consents (entrance_id) WHERE withdrawn_at IS NULL;

-- What each gateway said last that it holds, and since when it has said of an ended consent that it holds nothing of it.
CREATE TABLE people.face_templates (
    consent_id integer NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    seen_at    timestamptz NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);
CREATE TABLE people.face_proofs (
    consent_id integer NOT NULL REFERENCES people.face_consents ON DELETE RESTRICT,
    gateway_id integer NOT NULL REFERENCES gateways ON DELETE RESTRICT,
    proven_at  timestamptz NOT NULL,
    command    text NOT NULL,
    PRIMARY KEY (consent_id, gateway_id)
);
CREATE TABLE people.face_lists (
    device_id  integer PRIMARY KEY REFERENCES devices ON DELETE RESTRICT,
    digest     text NOT NULL,
    consents   integer NOT NULL,
    command_id bigint NOT NULL REFERENCES commands ON DELETE RESTRICT,
    made_at    timestamptz NOT NULL DEFAULT now()
);

-- How many distinct people's faces are stored, day by day; at 100,000 filing is due within thirty working days (办法 art. 15).
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
CREATE FUNCTION face_subjects() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT CASE WHEN session_user <> 'anju_api' OR anju_everywhere() THEN
        (SELECT count(DISTINCT c.resident_id) FROM people.face_consents c WHERE (c.kept_at = 'terminal' AND c.withdrawn_at IS NULL)
         OR EXISTS (SELECT FROM people.face_templates t WHERE t.consent_id = c.id)) END
$$;
GRANT EXECUTE ON FUNCTION face_subjects() TO anju_api;

DO $$
DECLARE
    here    constant text := '(SELECT anju_sees(''people'')) AND estate_id = ANY ((SELECT anju_scope())::integer[])';
    consent constant text := 'EXISTS (SELECT FROM people.face_consents c WHERE c.id = consent_id OFFSET 0)';
    whole   constant text := '(SELECT anju_sees(''people'')) AND (SELECT anju_everywhere())';
    wall record;
BEGIN
    FOR wall IN SELECT * FROM (VALUES
        ('people.assessments', here, 'SELECT, INSERT'),
        ('people.face_consents', here, 'SELECT, INSERT, UPDATE'),
        ('people.face_templates', consent, 'SELECT'),
        ('people.face_proofs', consent, 'SELECT'),
        ('people.face_counts', whole, 'SELECT'),
        ('people.face_filings', whole, 'SELECT, UPDATE')
    ) AS walls (name, reach, rights) LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wall.name);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', wall.name);
        EXECUTE format('CREATE POLICY whole ON %s TO CURRENT_USER USING (current_user <> ''anju_api'')', wall.name);
        EXECUTE format('CREATE POLICY reach ON %s TO anju_api USING (%s)', wall.name, wall.reach);
        EXECUTE format('GRANT %s ON %s TO anju_api', wall.rights, wall.name);
    END LOOP;
END
$$;

-- Lists of consents go down like lists of credentials.
ALTER TABLE commands DROP CONSTRAINT commands_kind_check;
ALTER TABLE commands ADD CONSTRAINT commands_kind_check CHECK (kind IN ('valve', 'door', 'credentials', 'faces'));

-- Where a consent's template may lie: every gateway before a door of its entrance, what it holds, and since when it has said that it does not.
CREATE FUNCTION face_gateways(consent integer)
RETURNS TABLE (gateway text, held_at timestamptz, proven_at timestamptz, command text) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT DISTINCT g.code, t.seen_at, p.proven_at, p.command FROM people.face_consents c
    JOIN entrances n ON n.id = c.entrance_id JOIN mounts m ON m.entrance_id = n.id OR m.building_id = n.building_id
    JOIN devices d ON d.id = m.device_id AND d.kind = 'door' JOIN gateways g ON g.id = d.gateway_id
    LEFT JOIN people.face_templates t ON t.consent_id = c.id AND t.gateway_id = g.id
    LEFT JOIN people.face_proofs p ON p.consent_id = c.id AND p.gateway_id = g.id
    WHERE c.id = consent AND (session_user <> 'anju_api' OR (anju_sees('people') AND c.estate_id = ANY (anju_scope()))) ORDER BY g.code
$$;
