"""Visits and their outcomes: what was found, which findings it put to the test, and the lists that
were given out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from psycopg.rows import class_row, scalar_row

from domain.errors import UserError
from store.database.connection import Connection

VisitReason = Literal["lead", "control", "tip_off", "other"]
VisitResult = Literal["confirmed", "unfounded", "inconclusive"]


class BadVisit(UserError):
    """A visit cannot be recorded as reported; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVisit:
    """A visit to record. `kind` names what was confirmed, and is None for every other outcome."""

    code: str
    unit_id: int
    visited_on: date
    reason: VisitReason
    outcome: VisitResult
    kind: str | None = None
    began_on: date | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedVisit:
    """One row of `visits` with its estate, its unit and the detectors that it put to the test."""

    id: int
    code: str
    estate: str
    unit: str
    reason: VisitReason
    visited_on: date
    outcome: VisitResult
    kind: str | None
    began_on: date | None
    note: str | None
    recorded_by: str
    recorded_at: datetime
    tested: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingOutcome:
    """A finding that a visit put to the test, and the visit's outcome; `month` is the visit's
    ("2026-03").
    """

    detector: str
    version: str
    params_digest: str
    score: float
    raised_at: datetime | None
    estate: str
    month: str
    visited_on: date
    outcome: VisitResult
    kind: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlVisit:
    """A random visit to a home without a lead."""

    visited_on: date
    outcome: VisitResult
    kind: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitOutcome:
    """What a visit to a unit found."""

    unit_id: int
    visited_on: date
    outcome: VisitResult
    kind: str | None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LetHome:
    """A home with a tenancy: its id, and the codes of its unit and estate."""

    unit_id: int
    unit: str
    estate: str


def record_visit(
    connection: Connection,
    visit: NewVisit,
    *,
    actor: str,
    known_at: datetime,
    kinds: Sequence[str],
) -> int:
    """Keep a visit with the findings of `kinds` that stood about its unit; returns its id.

    The same code with the same content changes nothing. Raises: BadVisit, where another visit has
    the code.
    """
    values = {
        "code": visit.code,
        "unit_id": visit.unit_id,
        "reason": visit.reason,
        "visited_on": visit.visited_on,
        "outcome": visit.outcome,
        "kind": visit.kind,
        "began_on": visit.began_on,
        "note": visit.note,
        "actor": actor,
    }
    with connection.cursor(row_factory=scalar_row) as cursor:
        visit_id = cursor.execute(_INSERT_VISIT, values).fetchone()
    if visit_id is None:
        return _id_of_same_visit(connection, visit)
    tested = {
        "visit_id": visit_id,
        "unit_id": visit.unit_id,
        "kinds": list(kinds),
        "known_at": known_at,
    }
    connection.execute(_INSERT_TESTED_FINDINGS, tested)
    return int(visit_id)


def _id_of_same_visit(connection: Connection, visit: NewVisit) -> int:
    with connection.cursor(row_factory=class_row(NewVisit)) as cursor:
        existing = cursor.execute(_EXISTING_VISIT, [visit.code]).fetchone()
    if existing != visit:
        raise BadVisit(
            f"visit {visit.code!r} is recorded already with other content; "
            "give this one a code of its own"
        )
    with connection.cursor(row_factory=scalar_row) as cursor:
        visit_id = cursor.execute("SELECT id FROM visits WHERE code = %s", [visit.code]).fetchone()
    assert visit_id is not None
    return int(visit_id)


_INSERT_VISIT = """
    INSERT INTO visits
        (code, unit_id, reason, visited_on, outcome, kind, began_on, note, recorded_by)
    VALUES (%(code)s, %(unit_id)s, %(reason)s, %(visited_on)s, %(outcome)s, %(kind)s,
            %(began_on)s, %(note)s, %(actor)s)
    ON CONFLICT (code) DO NOTHING
    RETURNING id
"""
_EXISTING_VISIT = """
    SELECT code, unit_id, visited_on, reason, outcome, kind, began_on, note
    FROM visits
    WHERE code = %s
"""
_INSERT_TESTED_FINDINGS = """
    INSERT INTO visit_findings (visit_id, finding_id)
    SELECT %(visit_id)s, id
    FROM findings
    WHERE unit_id = %(unit_id)s
      AND detector = ANY(%(kinds)s)
      AND found_at <= %(known_at)s
      AND (superseded_at IS NULL OR superseded_at > %(known_at)s)
      AND raised_at <= %(known_at)s
      AND (until_at IS NULL OR until_at > %(known_at)s::timestamptz - interval '30 days')
"""


def list_visits(
    connection: Connection,
    estates: Sequence[int],
    *,
    before_id: int | None = None,
    limit: int = 100,
) -> list[RecordedVisit]:
    """List visits to estates, newest first, with the detectors that they put to the test."""
    values = {"estates": list(estates), "before_id": before_id, "limit": limit}
    with connection.cursor(row_factory=class_row(RecordedVisit)) as cursor:
        return cursor.execute(_LIST_VISITS, values).fetchall()


_LIST_VISITS = """
    SELECT v.id, v.code, e.code AS estate, u.code AS unit, v.reason, v.visited_on, v.outcome,
           v.kind, v.began_on, v.note, v.recorded_by, v.recorded_at,
           array(
               SELECT DISTINCT f.detector
               FROM visit_findings x
               JOIN findings f ON f.id = x.finding_id
               WHERE x.visit_id = v.id
               ORDER BY 1
           ) AS tested
    FROM visits v
    JOIN units u ON u.id = v.unit_id
    JOIN estates e ON e.id = v.estate_id
    WHERE v.estate_id = ANY(%(estates)s)
      AND (%(before_id)s::integer IS NULL OR v.id < %(before_id)s)
    ORDER BY v.id DESC
    LIMIT %(limit)s
"""


def list_finding_outcomes(connection: Connection, estates: Sequence[int]) -> list[FindingOutcome]:
    """List every finding that a visit to estates put to the test, in the order of the visits."""
    with connection.cursor(row_factory=class_row(FindingOutcome)) as cursor:
        return cursor.execute(_LIST_FINDING_OUTCOMES, [list(estates)]).fetchall()


_LIST_FINDING_OUTCOMES = """
    SELECT f.detector, f.version, f.params_digest, f.score, f.raised_at, e.code AS estate,
           to_char(v.visited_on, 'YYYY-MM') AS month, v.visited_on, v.outcome, v.kind
    FROM visit_findings x
    JOIN findings f ON f.id = x.finding_id
    JOIN visits v ON v.id = x.visit_id
    JOIN estates e ON e.id = v.estate_id
    WHERE v.estate_id = ANY(%s)
    ORDER BY v.id, f.id
"""


def list_control_visits(connection: Connection, estates: Sequence[int]) -> list[ControlVisit]:
    """List the random visits to estates that put no finding to the test, in their order."""
    with connection.cursor(row_factory=class_row(ControlVisit)) as cursor:
        return cursor.execute(_LIST_CONTROL_VISITS, [list(estates)]).fetchall()


_LIST_CONTROL_VISITS = """
    SELECT v.visited_on, v.outcome, v.kind
    FROM visits v
    WHERE v.estate_id = ANY(%s)
      AND v.reason = 'control'
      AND NOT EXISTS (SELECT FROM visit_findings x WHERE x.visit_id = v.id)
    ORDER BY v.id
"""


def list_outcomes(connection: Connection, estates: Sequence[int]) -> list[VisitOutcome]:
    """List the conclusive outcomes of visits to estates, in the order of the visits."""
    with connection.cursor(row_factory=class_row(VisitOutcome)) as cursor:
        return cursor.execute(_LIST_OUTCOMES, [list(estates)]).fetchall()


_LIST_OUTCOMES = """
    SELECT v.unit_id, v.visited_on, v.outcome, v.kind
    FROM visits v
    WHERE v.estate_id = ANY(%s)
      AND v.outcome <> 'inconclusive'
    ORDER BY v.id
"""


def list_let_homes(connection: Connection, estates: Sequence[int], on: date) -> list[LetHome]:
    """List the homes that are let on a day and were not visited in half a year before, by id."""
    with connection.cursor(row_factory=class_row(LetHome)) as cursor:
        return cursor.execute(_LIST_LET_HOMES, {"estates": list(estates), "on": on}).fetchall()


_LIST_LET_HOMES = """
    SELECT u.id AS unit_id, u.code AS unit, e.code AS estate
    FROM units u
    JOIN estates e ON e.id = u.estate_id
    WHERE u.estate_id = ANY(%(estates)s)
      AND EXISTS (
          SELECT FROM tenancies t
          WHERE t.unit_id = u.id
            AND t.valid_from <= %(on)s
            AND (t.valid_to IS NULL OR t.valid_to >= %(on)s)
      )
      AND NOT EXISTS (
          SELECT FROM visits v
          WHERE v.unit_id = u.id
            AND v.visited_on BETWEEN %(on)s - 182 AND %(on)s
      )
    ORDER BY u.id
"""
