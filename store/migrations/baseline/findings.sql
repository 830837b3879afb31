-- What detectors said each night. A row is never changed: what is said anew is another row, and the
-- one before it is superseded.

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
COMMENT ON TABLE findings IS
    'Findings of detectors: reasoned suspicions about a unit. A row is never changed but '
    'superseded by another.';
COMMENT ON COLUMN findings.id IS 'Row key.';
COMMENT ON COLUMN findings.detector IS 'Key of the detector.';
COMMENT ON COLUMN findings.version IS 'Version of the detector.';
COMMENT ON COLUMN findings.unit_id IS 'Unit that it is about.';
COMMENT ON COLUMN findings.since_at IS
    'Instant at which the suspected condition began, as estimated.';
COMMENT ON COLUMN findings.until_at IS 'Instant at which it ended; NULL while it lasts.';
COMMENT ON COLUMN findings.frozen IS
    'True where the latest data cannot be judged, so the finding stands as it was.';
COMMENT ON COLUMN findings.score IS 'How likely it is true, 0 to 1.';
COMMENT ON COLUMN findings.reasons IS
    'Reason codes; the first one is part of the finding''s identity.';
COMMENT ON COLUMN findings.evidence IS 'Values and periods that a person can check.';
COMMENT ON COLUMN findings.params IS 'Parameters that the detector ran with.';
COMMENT ON COLUMN findings.found_at IS 'Instant of the night''s clock at which it was found.';
COMMENT ON COLUMN findings.superseded_at IS
    'Instant of the night''s clock at which another finding replaced it; NULL while it is current.';
COMMENT ON COLUMN findings.params_digest IS 'First 16 hex digits of the SHA-256 of the parameters.';
COMMENT ON COLUMN findings.window_from IS 'First local day that the detector looked at.';
COMMENT ON COLUMN findings.window_to IS 'Last local day that the detector looked at.';
COMMENT ON COLUMN findings.since_low_at IS 'Earliest plausible beginning.';
COMMENT ON COLUMN findings.since_high_at IS 'Latest plausible beginning.';
COMMENT ON COLUMN findings.raised_at IS
    'Instant at which the suspicion was first strong enough to be shown; NULL before.';

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
COMMENT ON TABLE abstentions IS 'Where a detector could not judge, and why.';
COMMENT ON COLUMN abstentions.id IS 'Row key.';
COMMENT ON COLUMN abstentions.detector IS 'Key of the detector.';
COMMENT ON COLUMN abstentions.version IS 'Version of the detector.';
COMMENT ON COLUMN abstentions.unit_id IS 'Unit that it is about.';
COMMENT ON COLUMN abstentions.from_day IS 'First local day that could not be judged.';
COMMENT ON COLUMN abstentions.to_day IS 'Last local day that could not be judged.';
COMMENT ON COLUMN abstentions.reason IS 'Reason code.';
COMMENT ON COLUMN abstentions.found_at IS 'Instant of the night''s clock at which it was found.';
COMMENT ON COLUMN abstentions.superseded_at IS
    'Instant of the night''s clock at which it was replaced; NULL while it is current.';

-- Every unit of the estate was judged up to this day, whether or not data had come in: silence is
-- noticed too.
CREATE TABLE judged_days (
    estate_id integer PRIMARY KEY REFERENCES estates ON DELETE RESTRICT,
    day       date        NOT NULL,
    clock_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE judged_days IS
    'The last local day up to which every unit of an estate was judged.';
COMMENT ON COLUMN judged_days.estate_id IS 'The estate.';
COMMENT ON COLUMN judged_days.day IS 'Last judged local day.';
COMMENT ON COLUMN judged_days.clock_at IS 'Instant of that night''s clock.';
