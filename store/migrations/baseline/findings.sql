-- What detectors said each night. A row is never changed: what is said anew is another row, and the one before it is
-- superseded.

CREATE TABLE findings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector      text        NOT NULL,
    version       text        NOT NULL,
    unit_id       integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    since_at      timestamptz NOT NULL,
    until_at      timestamptz,
    frozen        boolean     NOT NULL DEFAULT false,
    score         real        NOT NULL CHECK (score BETWEEN 0 AND 1),
    reasons       text[]      NOT NULL,
    evidence      jsonb       NOT NULL,
    params        jsonb       NOT NULL,
    found_at      timestamptz NOT NULL DEFAULT anju_now(),
    superseded_at timestamptz,
    params_digest text        NOT NULL DEFAULT '',
    window_from   date,
    window_to     date,
    since_low_at  timestamptz,
    since_high_at timestamptz,
    raised_at     timestamptz
);
CREATE UNIQUE INDEX findings_current ON findings (detector, unit_id, since_at, (reasons[1]))
    WHERE superseded_at IS NULL;
CREATE INDEX findings_unit ON findings (unit_id, detector, found_at);

CREATE TABLE abstentions (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    detector      text        NOT NULL,
    version       text        NOT NULL,
    unit_id       integer     NOT NULL REFERENCES units ON DELETE RESTRICT,
    from_day      date        NOT NULL,
    to_day        date        NOT NULL,
    reason        text        NOT NULL,
    found_at      timestamptz NOT NULL DEFAULT anju_now(),
    superseded_at timestamptz
);
CREATE UNIQUE INDEX abstentions_current ON abstentions (detector, unit_id, from_day, reason)
    WHERE superseded_at IS NULL;
CREATE INDEX abstentions_unit ON abstentions (unit_id, detector);

-- Every unit of the estate was judged up to this day, whether or not data had come in: silence is noticed too.
CREATE TABLE judged_days (
    estate_id integer PRIMARY KEY REFERENCES estates ON DELETE RESTRICT,
    day       date        NOT NULL,
    clock_at  timestamptz NOT NULL DEFAULT now()
);
