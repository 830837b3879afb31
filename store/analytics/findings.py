"""Findings and abstentions: what detectors said of units, now and at any time before.

A finding is never changed. What is said anew is another row, and the row before it is superseded; so what was known on any day
can be read again, with the detector's version, the digest of its parameters and the window that it saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.calendar import from_ms
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which detector spoke, with which parameters, and what it saw."""

    detector: str
    version: str
    params: dict[str, float]
    window_from: date
    window_to: date

    @property
    def digest(self) -> str:
        """A short digest of the parameters."""
        return hashlib.sha256(json.dumps(self.params, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """A finding as it is stored; instants in ms UTC, `until_ms` None while it lasts. `shown`: it is strong enough to be told."""

    unit_id: int
    since_ms: int
    until_ms: int | None
    frozen: bool
    score: float
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    shown: bool = True
    since_between: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionRow:
    """An abstention as it is stored."""

    unit_id: int
    from_day: date
    to_day: date
    reason: str


@dataclass(slots=True)
class Current:
    """What stands of units, by detector: read once for all detectors of a night."""

    findings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    abstentions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def read_current(connection: Connection, units: Sequence[int]) -> Current:
    """Read the findings and abstentions of units that are not superseded."""
    current = Current()
    for row in connection.execute(
        "SELECT id, detector, version, unit_id, since_at, until_at, frozen, score, reasons, evidence, params_digest, raised_at "
        "FROM findings WHERE unit_id = ANY(%s) AND superseded_at IS NULL",
        [list(units)],
    ):
        current.findings.setdefault(row["detector"], []).append(row)
    for row in connection.execute(
        "SELECT id, detector, unit_id, from_day, to_day, reason FROM abstentions WHERE unit_id = ANY(%s) AND superseded_at IS NULL",
        [list(units)],
    ):
        current.abstentions.setdefault(row["detector"], []).append(row)
    return current


def replace_findings(
    connection: Connection, current: Current, source: Source, rows: Sequence[FindingRow]
) -> None:
    """Store what a detector says now of the units whose `current` findings were read.

    A row that says the same stays; one that ended before the window is not touched; every other is superseded. What goes on under another
    row keeps the instant at which it was first told.
    """
    held = current.findings.get(source.detector, [])
    by_unit: dict[int, list[dict[str, Any]]] = {}
    for row in held:
        by_unit.setdefault(row["unit_id"], []).append(row)
    kept: set[int] = set()
    fresh: list[tuple[Any, ...]] = []
    for new in rows:
        before = [row for row in by_unit.get(new.unit_id, []) if _overlap(row, new)]
        same = next((row for row in before if _same(row, new, source)), None)
        if same is not None:
            kept.add(same["id"])
            continue
        told = [row["raised_at"] for row in before if row["raised_at"] is not None]
        low, high = new.since_between or (new.since_ms, new.since_ms)
        fresh.append(
            (
                source.detector,
                source.version,
                new.unit_id,
                from_ms(new.since_ms),
                None if new.until_ms is None else from_ms(new.until_ms),
                new.frozen,
                new.score,
                list(new.reasons),
                Jsonb(new.evidence),
                Jsonb(source.params),
                source.digest,
                source.window_from,
                source.window_to,
                from_ms(low),
                from_ms(high),
                min(told) if told else None,
                new.shown,
            )
        )
    gone = [
        row["id"]
        for row in held
        if row["id"] not in kept
        and (row["until_at"] is None or row["until_at"].date() >= source.window_from)
    ]
    if gone:
        connection.execute(
            "UPDATE findings SET superseded_at = anju_now() WHERE id = ANY(%s)", [gone]
        )
    if fresh:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO findings (detector, version, unit_id, since_at, until_at, frozen, score, reasons, evidence, params, "
                "params_digest, window_from, window_to, since_low_at, since_high_at, raised_at) VALUES "
                "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, CASE WHEN %s THEN anju_now() END)) "
                "ON CONFLICT (detector, unit_id, since_at, (reasons[1])) WHERE superseded_at IS NULL DO NOTHING",
                fresh,
            )


def _overlap(row: dict[str, Any], new: FindingRow) -> bool:
    since, until = from_ms(new.since_ms), None if new.until_ms is None else from_ms(new.until_ms)
    return (row["until_at"] is None or since < row["until_at"]) and (
        until is None or row["since_at"] < until
    )


def _same(row: dict[str, Any], new: FindingRow, source: Source) -> bool:
    return (
        row["since_at"] == from_ms(new.since_ms)
        and row["until_at"] == (None if new.until_ms is None else from_ms(new.until_ms))
        and row["frozen"] == new.frozen
        and abs(row["score"] - new.score) < 0.0005
        and tuple(row["reasons"]) == new.reasons
        and row["evidence"] == new.evidence
        and (row["version"], row["params_digest"]) == (source.version, source.digest)
    )


def replace_abstentions(
    connection: Connection, current: Current, source: Source, rows: Sequence[AbstentionRow]
) -> None:
    """Store of which units, when and why a detector says that it cannot judge; a stretch that goes on is one row."""
    held = current.abstentions.get(source.detector, [])
    by_key: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in held:
        by_key.setdefault((row["unit_id"], row["reason"]), []).append(row)
    kept: set[int] = set()
    longer: list[tuple[date, int]] = []
    fresh: list[tuple[Any, ...]] = []
    for new in rows:
        same = next(
            (
                r
                for r in by_key.get((new.unit_id, new.reason), [])
                if r["id"] not in kept
                and r["from_day"] <= new.to_day
                and r["to_day"] >= new.from_day
                and r["from_day"] <= new.from_day
            ),
            None,
        )
        if same is None:
            fresh.append(
                (source.detector, source.version, new.unit_id, new.from_day, new.to_day, new.reason)
            )
            continue
        kept.add(same["id"])
        if same["to_day"] != new.to_day:
            longer.append((new.to_day, same["id"]))
    gone = [
        row["id"] for row in held if row["id"] not in kept and row["to_day"] >= source.window_from
    ]
    if gone:
        connection.execute(
            "UPDATE abstentions SET superseded_at = anju_now() WHERE id = ANY(%s)", [gone]
        )
    with connection.cursor() as cursor:
        if longer:
            cursor.executemany("UPDATE abstentions SET to_day = %s WHERE id = %s", longer)
        if fresh:
            cursor.executemany(
                "INSERT INTO abstentions (detector, version, unit_id, from_day, to_day, reason) VALUES (%s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (detector, unit_id, from_day, reason) WHERE superseded_at IS NULL DO UPDATE SET to_day = excluded.to_day",
                fresh,
            )


def list_abstentions(connection: Connection, unit_id: int) -> list[dict[str, Any]]:
    """Read what could not be judged of a unit."""
    return connection.execute(
        "SELECT detector, from_day, to_day, reason, found_at FROM abstentions WHERE unit_id = %s AND superseded_at IS NULL "
        "ORDER BY from_day",
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


def list_standing(
    connection: Connection,
    estates: Sequence[int],
    detectors: Sequence[str],
    known_at: datetime,
    *,
    told_only: bool = True,
) -> list[dict[str, Any]]:
    """List the findings of some detectors that stood at an instant, the likeliest first, with unit, estate and time zone."""
    return connection.execute(
        "SELECT f.id, f.detector, f.version, f.params_digest, f.window_from, f.window_to, f.unit_id, u.code AS unit, e.id AS estate_id, "
        "e.code AS estate, e.timezone, f.since_at, f.since_low_at, f.since_high_at, f.until_at, f.frozen, f.score, f.reasons, "
        "f.evidence, f.found_at, f.raised_at FROM findings f JOIN units u ON u.id = f.unit_id JOIN estates e ON e.id = u.estate_id "
        "WHERE u.estate_id = ANY(%s) AND f.detector = ANY(%s) AND f.found_at <= %s AND (f.superseded_at IS NULL OR f.superseded_at > %s) "
        "AND f.until_at IS NULL AND (NOT %s OR f.raised_at <= %s) ORDER BY f.score DESC, f.since_at, f.id",
        [list(estates), list(detectors), known_at, known_at, told_only, known_at],
    ).fetchall()


def abstentions_at(
    connection: Connection, estates: Sequence[int], known_at: datetime, on: date
) -> list[dict[str, Any]]:
    """List what could not be judged on a day, as it was known at an instant."""
    return connection.execute(
        "SELECT u.code AS unit, e.code AS estate, a.detector, a.reason, a.from_day, least(a.to_day, %s) AS to_day FROM abstentions a "
        "JOIN units u ON u.id = a.unit_id JOIN estates e ON e.id = u.estate_id WHERE u.estate_id = ANY(%s) AND a.found_at <= %s "
        "AND (a.superseded_at IS NULL OR a.superseded_at > %s) AND a.from_day <= %s AND a.to_day >= %s - 1 ORDER BY u.code, a.detector",
        [on, list(estates), known_at, known_at, on, on],
    ).fetchall()
