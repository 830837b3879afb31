-- Names, ID numbers and phones, in a schema of their own. Each field is encrypted under a key of
-- the person's own. The rest of the database knows a resident as a code.

CREATE SCHEMA people;
GRANT USAGE ON SCHEMA people TO anju_api;

CREATE TABLE people.persons (
    id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resident_id     integer     NOT NULL UNIQUE REFERENCES residents ON DELETE RESTRICT,
    estate_id       integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    code            text        NOT NULL,
    name            bytea,
    id_number       bytea,
    phone           bytea,
    name_index      bytea,
    id_number_index bytea,
    phone_index     bytea,
    collected_for   text        NOT NULL,
    keep_until      date,
    made_at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX persons_estate ON people.persons (estate_id, code);
CREATE INDEX persons_name ON people.persons (name_index);
CREATE INDEX persons_id_number ON people.persons (id_number_index);
CREATE INDEX persons_phone ON people.persons (phone_index);
CREATE INDEX persons_keep_until ON people.persons (keep_until) WHERE keep_until IS NOT NULL;
COMMENT ON TABLE people.persons IS
    'People behind the residents'' codes. Names, numbers and phones are encrypted under a key of '
    'the person''s own.';
COMMENT ON COLUMN people.persons.id IS 'Row key.';
COMMENT ON COLUMN people.persons.resident_id IS 'Resident that this person is.';
COMMENT ON COLUMN people.persons.estate_id IS 'Estate where the person lives.';
COMMENT ON COLUMN people.persons.code IS 'Code of the resident.';
COMMENT ON COLUMN people.persons.name IS 'Name, encrypted.';
COMMENT ON COLUMN people.persons.id_number IS 'ID number, encrypted.';
COMMENT ON COLUMN people.persons.phone IS 'Phone number, encrypted.';
COMMENT ON COLUMN people.persons.name_index IS
    'HMAC-SHA-256 of the name under a key of the site, to find equal ones.';
COMMENT ON COLUMN people.persons.id_number_index IS
    'HMAC-SHA-256 of the ID number under a key of the site, to find equal ones.';
COMMENT ON COLUMN people.persons.phone_index IS
    'HMAC-SHA-256 of the phone number under a key of the site, to find equal ones.';
COMMENT ON COLUMN people.persons.collected_for IS 'Purpose for which the data were collected.';
COMMENT ON COLUMN people.persons.keep_until IS
    'Last local day to keep them, where it is set for this person; NULL: the site''s rule after '
    'the last tenancy.';
COMMENT ON COLUMN people.persons.made_at IS 'Instant at which it was recorded.';

-- To delete a row makes every copy of the person's fields unreadable, so this table is left out of
-- long-lived backups (docs/runbooks/personal-data.md).
CREATE TABLE people.data_keys (
    person_id  integer PRIMARY KEY REFERENCES people.persons ON DELETE CASCADE,
    wrapped    bytea       NOT NULL,
    wrapped_by text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX data_keys_wrapped_by ON people.data_keys (wrapped_by, person_id);
COMMENT ON TABLE people.data_keys IS
    'The key of each person''s fields. Without it every copy of them is unreadable.';
COMMENT ON COLUMN people.data_keys.person_id IS 'The person.';
COMMENT ON COLUMN people.data_keys.wrapped IS 'The key, encrypted under a key of the site.';
COMMENT ON COLUMN people.data_keys.wrapped_by IS 'Name of that key.';
COMMENT ON COLUMN people.data_keys.made_at IS 'Instant at which it was made.';

CREATE TABLE people.erasures (
    code_index bytea PRIMARY KEY,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    erased_by  text        NOT NULL,
    reason     text        NOT NULL
);
COMMENT ON TABLE people.erasures IS
    'Who was erased, so that they can be erased again after a restore.';
COMMENT ON COLUMN people.erasures.code_index IS
    'HMAC-SHA-256 of the resident''s or the consent''s code; it says nothing else.';
COMMENT ON COLUMN people.erasures.erased_at IS 'Instant of the erasure.';
COMMENT ON COLUMN people.erasures.erased_by IS 'Log-in that erased.';
COMMENT ON COLUMN people.erasures.reason IS 'Why.';

CREATE TABLE people.lookups (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id  integer     REFERENCES people.persons ON DELETE SET NULL,
    estate_id  integer     NOT NULL REFERENCES estates ON DELETE RESTRICT,
    user_id    integer     NOT NULL REFERENCES users ON DELETE RESTRICT,
    asked_by   text        NOT NULL,
    role       text        NOT NULL,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    purpose    text        NOT NULL,
    reference  text        NOT NULL,
    fields     text[]      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('asked', 'granted', 'refused')),
    decider_id integer     REFERENCES users ON DELETE RESTRICT,
    decided_by text,
    decided_at timestamptz,
    shown_at   timestamptz,
    expires_at timestamptz NOT NULL,
    CHECK (decider_id <> user_id)
);
CREATE INDEX lookups_user ON people.lookups (user_id, asked_at);
CREATE INDEX lookups_open ON people.lookups (estate_id, id) WHERE state = 'asked';
CREATE INDEX lookups_person ON people.lookups (person_id, id);
COMMENT ON TABLE people.lookups IS
    'Look-ups of a person: asked for with a purpose, granted or refused, good for a while.';
COMMENT ON COLUMN people.lookups.id IS 'Row key.';
COMMENT ON COLUMN people.lookups.person_id IS 'The person; NULL once erased.';
COMMENT ON COLUMN people.lookups.estate_id IS 'Estate of the person.';
COMMENT ON COLUMN people.lookups.user_id IS 'Log-in that asked.';
COMMENT ON COLUMN people.lookups.asked_by IS 'Its name.';
COMMENT ON COLUMN people.lookups.role IS 'Its role.';
COMMENT ON COLUMN people.lookups.asked_at IS 'Instant of the question.';
COMMENT ON COLUMN people.lookups.purpose IS 'Purpose from the list of purposes.';
COMMENT ON COLUMN people.lookups.reference IS 'File or case that it belongs to.';
COMMENT ON COLUMN people.lookups.fields IS 'Fields that are asked for.';
COMMENT ON COLUMN people.lookups.state IS 'asked, granted or refused.';
COMMENT ON COLUMN people.lookups.decider_id IS
    'Log-in that decided; never the one that asked. NULL where policy decided.';
COMMENT ON COLUMN people.lookups.decided_by IS 'Its name.';
COMMENT ON COLUMN people.lookups.decided_at IS 'Instant of the decision.';
COMMENT ON COLUMN people.lookups.shown_at IS
    'Instant at which the fields were first shown; NULL before.';
COMMENT ON COLUMN people.lookups.expires_at IS 'Instant after which they are not shown.';

CREATE TABLE people.holds (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id   integer     NOT NULL REFERENCES people.persons ON DELETE RESTRICT,
    reason      text        NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    made_by     text        NOT NULL,
    released_at timestamptz,
    released_by text
);
CREATE INDEX holds_person ON people.holds (person_id) WHERE released_at IS NULL;
COMMENT ON TABLE people.holds IS
    'People who must not be erased while somebody still works on their file.';
COMMENT ON COLUMN people.holds.id IS 'Row key.';
COMMENT ON COLUMN people.holds.person_id IS 'The person.';
COMMENT ON COLUMN people.holds.reason IS 'Why.';
COMMENT ON COLUMN people.holds.made_at IS 'Instant at which it was made.';
COMMENT ON COLUMN people.holds.made_by IS 'Log-in that made it.';
COMMENT ON COLUMN people.holds.released_at IS
    'Instant at which it was released; NULL while it stands.';
COMMENT ON COLUMN people.holds.released_by IS 'Log-in that released it.';
