"""Findings and abstentions of detectors, as typed rows.

A finding is never changed: a new judgement adds rows and supersedes those that it no longer
confirms. So what was known on any day can be read again, with the detector's version, the digest
of its parameters and the window that it read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.periods import Period
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRun:
    """Which detector judged, with which parameters, and the days that it read, both included."""

    detector: str
    version: str
    params: Mapping[str, float]
    window_from: date
    window_to: date

    @property
    def params_digest(self) -> str:
        """A short digest of the parameters."""
        text = json.dumps(self.params, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFinding:
    """A finding to be stored."""

    unit_id: int
    since_at: datetime
    until_at: datetime | None
    """None while it lasts."""
    since_low_at: datetime
    since_high_at: datetime
    """It is thought to have begun between these two instants."""
    frozen: bool
    """The data ended before it did: it is neither going on nor over."""
    score: float
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    shown: bool
    """It is likely enough to be shown to people."""
    raised_at: datetime | None = None
    """When it was first shown under an earlier row; None: now, if it is shown."""

    @property
    def period(self) -> Period:
        """When it began and ended."""
        return Period(start=self.since_at, end=self.until_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFinding:
    """A row of `findings` that is not superseded."""

    id: int
    detector: str
    version: str
    params_digest: str
    unit_id: int
    since_at: datetime
    until_at: datetime | None
    frozen: bool
    score: float
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    raised_at: datetime | None

    @property
    def period(self) -> Period:
        """When it began and ended."""
        return Period(start=self.since_at, end=self.until_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAbstention:
    """An abstention to be stored; both days are included."""

    unit_id: int
    from_day: date
    to_day: date
    reason: str

    @property
    def period(self) -> Period:
        """The days that could not be judged."""
        return Period(start=self.from_day, end=self.to_day + timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAbstention:
    """A row of `abstentions` that is not superseded; both days are included."""

    id: int
    detector: str
    unit_id: int
    from_day: date
    to_day: date
    reason: str

    @property
    def period(self) -> Period:
        """The days that could not be judged."""
        return Period(start=self.from_day, end=self.to_day + timedelta(days=1))


# What stands now ---------------------------------------------------------------------------------


def read_findings(connection: Connection, units: Sequence[int]) -> list[StoredFinding]:
    """Read the findings about units that are not superseded."""
    with connection.cursor(row_factory=class_row(StoredFinding)) as cursor:
        return cursor.execute(
            """
            SELECT id, detector, version, params_digest, unit_id, since_at, until_at, frozen, score,
                   reasons, evidence, raised_at
            FROM findings
            WHERE unit_id = ANY(%s)
              AND superseded_at IS NULL
            """,
            [list(units)],
        ).fetchall()


def read_abstentions(connection: Connection, units: Sequence[int]) -> list[StoredAbstention]:
    """Read the abstentions about units that are not superseded."""
    with connection.cursor(row_factory=class_row(StoredAbstention)) as cursor:
        return cursor.execute(
            """
            SELECT id, detector, unit_id, from_day, to_day, reason
            FROM abstentions
            WHERE unit_id = ANY(%s)
              AND superseded_at IS NULL
            """,
            [list(units)],
        ).fetchall()


def supersede_findings(connection: Connection, finding_ids: Sequence[int]) -> None:
    """Mark findings as no longer confirmed."""
    if finding_ids:
        connection.execute(
            "UPDATE findings SET superseded_at = anju_now() WHERE id = ANY(%s)",
            [list(finding_ids)],
        )


def add_findings(connection: Connection, run: DetectorRun, rows: Sequence[NewFinding]) -> None:
    """Store new findings of one run; one that begins like a finding that stands is left out."""
    if not rows:
        return
    of_run = {
        "detector": run.detector,
        "version": run.version,
        "params": Jsonb(run.params),
        "params_digest": run.params_digest,
        "window_from": run.window_from,
        "window_to": run.window_to,
    }
    values = [
        {
            **of_run,
            "unit_id": row.unit_id,
            "since_at": row.since_at,
            "until_at": row.until_at,
            "since_low_at": row.since_low_at,
            "since_high_at": row.since_high_at,
            "frozen": row.frozen,
            "score": row.score,
            "reasons": list(row.reasons),
            "evidence": Jsonb(row.evidence),
            "raised_at": row.raised_at,
            "shown": row.shown,
        }
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD_FINDING, values)


_ADD_FINDING = """
    INSERT INTO findings (
        detector, version, params, params_digest, window_from, window_to,
        unit_id, since_at, until_at, since_low_at, since_high_at,
        frozen, score, reasons, evidence, raised_at
    )
    VALUES (
        %(detector)s, %(version)s, %(params)s, %(params_digest)s, %(window_from)s, %(window_to)s,
        %(unit_id)s, %(since_at)s, %(until_at)s, %(since_low_at)s, %(since_high_at)s,
        %(frozen)s, %(score)s, %(reasons)s, %(evidence)s,
        coalesce(%(raised_at)s, CASE WHEN %(shown)s THEN anju_now() END)
    )
    ON CONFLICT (detector, unit_id, since_at, (reasons[1])) WHERE superseded_at IS NULL
    DO NOTHING
"""


def supersede_abstentions(connection: Connection, abstention_ids: Sequence[int]) -> None:
    """Mark abstentions as no longer confirmed."""
    if abstention_ids:
        connection.execute(
            "UPDATE abstentions SET superseded_at = anju_now() WHERE id = ANY(%s)",
            [list(abstention_ids)],
        )


def move_abstention_ends(connection: Connection, to_days: Mapping[int, date]) -> None:
    """Give abstentions, by id, another last day."""
    if to_days:
        values = [(to_day, abstention_id) for abstention_id, to_day in to_days.items()]
        with connection.cursor() as cursor:
            cursor.executemany("UPDATE abstentions SET to_day = %s WHERE id = %s", values)


def add_abstentions(
    connection: Connection, run: DetectorRun, rows: Sequence[NewAbstention]
) -> None:
    """Store new abstentions of one run; one that stands with the same start gets the new end."""
    if not rows:
        return
    values = [
        (run.detector, run.version, row.unit_id, row.from_day, row.to_day, row.reason)
        for row in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_ADD_ABSTENTION, values)


_ADD_ABSTENTION = """
    INSERT INTO abstentions (detector, version, unit_id, from_day, to_day, reason)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (detector, unit_id, from_day, reason) WHERE superseded_at IS NULL
    DO UPDATE SET to_day = excluded.to_day
"""


# Abstentions for people --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAbstention:
    """Days of one unit that a detector could not judge, both included."""

    detector: str
    from_day: date
    to_day: date
    reason: str
    found_at: datetime


def list_abstentions(connection: Connection, unit_id: int) -> list[UnitAbstention]:
    """List what could not be judged of a unit, oldest first."""
    with connection.cursor(row_factory=class_row(UnitAbstention)) as cursor:
        return cursor.execute(
            """
            SELECT detector, from_day, to_day, reason, found_at
            FROM abstentions
            WHERE unit_id = %s
              AND superseded_at IS NULL
            ORDER BY from_day
            """,
            [unit_id],
        ).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionCount:
    """How many units a detector could not judge for one reason."""

    detector: str
    reason: str
    units: int


def count_abstentions(connection: Connection, estate_id: int, on: date) -> list[AbstentionCount]:
    """Count the units of an estate that could not be judged on a day, most first."""
    with connection.cursor(row_factory=class_row(AbstentionCount)) as cursor:
        return cursor.execute(
            """
            SELECT a.detector, a.reason, count(DISTINCT a.unit_id) AS units
            FROM abstentions a
            JOIN units u ON u.id = a.unit_id
            WHERE u.estate_id = %s
              AND a.superseded_at IS NULL
              AND a.from_day <= %s
              AND a.to_day >= %s
            GROUP BY a.detector, a.reason
            ORDER BY units DESC, a.detector, a.reason
            """,
            [estate_id, on, on],
        ).fetchall()


# What stood at an instant ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingFinding:
    """A finding that stood at an instant, with its unit, its estate and the estate's time zone."""

    id: int
    detector: str
    version: str
    params_digest: str
    window_from: date
    window_to: date
    unit_id: int
    unit: str
    estate_id: int
    estate: str
    timezone: str
    since_at: datetime
    since_low_at: datetime
    since_high_at: datetime
    until_at: datetime | None
    frozen: bool
    score: float
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    found_at: datetime
    raised_at: datetime | None


def list_standing(
    connection: Connection,
    estates: Sequence[int],
    detectors: Sequence[str],
    known_at: datetime,
    *,
    shown_only: bool = True,
) -> list[StandingFinding]:
    """List the findings of detectors that stood at an instant, the likeliest first."""
    values = {
        "estates": list(estates),
        "detectors": list(detectors),
        "known_at": known_at,
        "shown_only": shown_only,
    }
    with connection.cursor(row_factory=class_row(StandingFinding)) as cursor:
        return cursor.execute(_LIST_STANDING, values).fetchall()


_LIST_STANDING = """
    SELECT f.id, f.detector, f.version, f.params_digest, f.window_from, f.window_to,
           f.unit_id, u.code AS unit, e.id AS estate_id, e.code AS estate, e.timezone,
           f.since_at, f.since_low_at, f.since_high_at, f.until_at, f.frozen,
           f.score, f.reasons, f.evidence, f.found_at, f.raised_at
    FROM findings f
    JOIN units u ON u.id = f.unit_id
    JOIN estates e ON e.id = u.estate_id
    WHERE u.estate_id = ANY(%(estates)s)
      AND f.detector = ANY(%(detectors)s)
      AND f.found_at <= %(known_at)s
      AND (f.superseded_at IS NULL OR f.superseded_at > %(known_at)s)
      AND f.until_at IS NULL
      AND (NOT %(shown_only)s OR f.raised_at <= %(known_at)s)
    ORDER BY f.score DESC, f.since_at, f.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAbstention:
    """Days of a unit, both included, that could not be judged as far as was known at an instant."""

    unit: str
    estate: str
    detector: str
    reason: str
    from_day: date
    to_day: date


def list_known_abstentions(
    connection: Connection, estates: Sequence[int], known_at: datetime, on: date
) -> list[KnownAbstention]:
    """List what could not be judged on a day, as it was known at an instant."""
    values = {"estates": list(estates), "known_at": known_at, "on": on}
    with connection.cursor(row_factory=class_row(KnownAbstention)) as cursor:
        return cursor.execute(_LIST_KNOWN_ABSTENTIONS, values).fetchall()


_LIST_KNOWN_ABSTENTIONS = """
    SELECT u.code AS unit, e.code AS estate, a.detector, a.reason,
           a.from_day, least(a.to_day, %(on)s) AS to_day
    FROM abstentions a
    JOIN units u ON u.id = a.unit_id
    JOIN estates e ON e.id = u.estate_id
    WHERE u.estate_id = ANY(%(estates)s)
      AND a.found_at <= %(known_at)s
      AND (a.superseded_at IS NULL OR a.superseded_at > %(known_at)s)
      AND a.from_day <= %(on)s
      AND a.to_day >= %(on)s - 1
    ORDER BY u.code, a.detector
"""
