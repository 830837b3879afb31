-- Names, ID numbers and phones, in a schema of their own. Each field is encrypted under a key of the person's own.
-- The rest of the database knows a resident as a code.

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

-- To delete a row makes every copy of the person's fields unreadable, so this table is left out of long-lived backups
-- (docs/runbooks/personal-data.md).
CREATE TABLE people.data_keys (
    person_id  integer PRIMARY KEY REFERENCES people.persons ON DELETE CASCADE,
    wrapped    bytea       NOT NULL,
    wrapped_by text        NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX data_keys_wrapped_by ON people.data_keys (wrapped_by, person_id);

CREATE TABLE people.erasures (
    code_index bytea PRIMARY KEY,
    erased_at  timestamptz NOT NULL DEFAULT now(),
    erased_by  text        NOT NULL,
    reason     text        NOT NULL
);

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
