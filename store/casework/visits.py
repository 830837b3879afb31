"""Visits and their outcomes: what was found, which findings it put to the test, and the lists that were given out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from domain.errors import UserError
from store.database.connection import Connection


class BadVisit(UserError):
    """A visit cannot be recorded as told; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitRow:
    """One visit. `kind` names what was confirmed, and is None for every other outcome."""

    code: str
    unit_id: int
    visited_on: date
    reason: str
    outcome: str
    kind: str | None = None
    began_on: date | None = None
    note: str | None = None
    list_id: int | None = None


def record_visit(
    connection: Connection, visit: VisitRow, *, actor: str, known_at: datetime, kinds: Sequence[str]
) -> int:
    """Keep a visit with the findings of `kinds` that stood about its unit; returns its id. The same code again changes nothing.

    Raises: BadVisit, where another visit has the code.
    """
    row = connection.execute(
        "INSERT INTO visits (code, unit_id, list_id, reason, visited_on, outcome, kind, began_on, note, recorded_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (code) DO NOTHING RETURNING id",
        [
            visit.code,
            visit.unit_id,
            visit.list_id,
            visit.reason,
            visit.visited_on,
            visit.outcome,
            visit.kind,
            visit.began_on,
            visit.note,
            actor,
        ],
    ).fetchone()
    if row is None:
        held = connection.execute("SELECT * FROM visits WHERE code = %s", [visit.code]).fetchone()
        assert held is not None
        same = ("unit_id", "visited_on", "reason", "outcome", "kind", "began_on", "note")
        if any(held[name] != getattr(visit, name) for name in same):
            raise BadVisit(
                f"visit {visit.code!r} is recorded already with other content; give this one a code of its own"
            )
        return int(held["id"])
    connection.execute(
        "INSERT INTO visit_findings SELECT %s, id FROM findings WHERE unit_id = %s AND detector = ANY(%s) AND found_at <= %s "
        "AND (superseded_at IS NULL OR superseded_at > %s) AND raised_at <= %s "
        "AND (until_at IS NULL OR until_at > %s::timestamptz - interval '30 days')",
        [row["id"], visit.unit_id, list(kinds), known_at, known_at, known_at, known_at],
    )
    return int(row["id"])


def list_visits(
    connection: Connection,
    estates: Sequence[int],
    *,
    before_id: int | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """List visits within a scope, newest first, with the detectors that they put to the test."""
    return connection.execute(
        "SELECT v.id, v.code, e.code AS estate, u.code AS unit, v.reason, v.visited_on, v.outcome, v.kind, v.began_on, v.note, "
        "v.recorded_by, v.recorded_at, array(SELECT DISTINCT f.detector FROM visit_findings x JOIN findings f ON f.id = x.finding_id "
        "WHERE x.visit_id = v.id ORDER BY 1) AS tested FROM visits v JOIN units u ON u.id = v.unit_id "
        "JOIN estates e ON e.id = v.estate_id WHERE v.estate_id = ANY(%s) AND (%s::integer IS NULL OR v.id < %s) ORDER BY v.id DESC LIMIT %s",
        [list(estates), before_id, before_id, limit],
    ).fetchall()


def tested(connection: Connection, estates: Sequence[int]) -> list[dict[str, Any]]:
    """List every finding that a visit put to the test: detector, version, score, estate, month, outcome, kind, when it was raised."""
    return connection.execute(
        "SELECT f.detector, f.version, f.params_digest, f.score, e.code AS estate, to_char(v.visited_on, 'YYYY-MM') AS month, "
        "v.outcome, v.kind, v.visited_on, f.raised_at FROM visit_findings x JOIN findings f ON f.id = x.finding_id "
        "JOIN visits v ON v.id = x.visit_id JOIN estates e ON e.id = v.estate_id WHERE v.estate_id = ANY(%s) ORDER BY v.id, f.id",
        [list(estates)],
    ).fetchall()


def controls(connection: Connection, estates: Sequence[int]) -> list[dict[str, Any]]:
    """List the random control visits within a scope that put no finding to the test."""
    return connection.execute(
        "SELECT v.outcome, v.kind, v.visited_on FROM visits v WHERE v.estate_id = ANY(%s) AND v.reason = 'control' "
        "AND NOT EXISTS (SELECT FROM visit_findings x WHERE x.visit_id = v.id) ORDER BY v.id",
        [list(estates)],
    ).fetchall()


def outcomes_of(connection: Connection, estates: Sequence[int]) -> list[dict[str, Any]]:
    """List the outcomes that tell something: unit, day, outcome, kind."""
    return connection.execute(
        "SELECT v.unit_id, v.visited_on, v.outcome, v.kind FROM visits v WHERE v.estate_id = ANY(%s) AND v.outcome <> 'inconclusive' ORDER BY v.id",
        [list(estates)],
    ).fetchall()


def let_homes(
    connection: Connection, estates: Sequence[int], on: date
) -> list[tuple[int, str, str]]:
    """List the homes (id, unit, estate) that are let on a day and were not visited in the half year before it."""
    rows = connection.execute(
        "SELECT u.id, u.code, e.code AS estate FROM units u JOIN estates e ON e.id = u.estate_id WHERE u.estate_id = ANY(%s) "
        "AND EXISTS (SELECT FROM tenancies t WHERE t.unit_id = u.id AND t.valid_from <= %s AND (t.valid_to IS NULL OR t.valid_to >= %s)) "
        "AND NOT EXISTS (SELECT FROM visits v WHERE v.unit_id = u.id AND v.visited_on BETWEEN %s - 182 AND %s) ORDER BY u.id",
        [list(estates), on, on, on, on],
    )
    return [(row["id"], row["code"], row["estate"]) for row in rows]
