"""Findings and abstentions: what detectors said of units, now and at any time before.

A run replaces what the same detector said of the same units: rows that it no longer says are superseded, never deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb

from domain.calendar import from_ms
from store.connect import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """A finding as it is stored; instants in ms UTC, `until_ms` None while it lasts."""

    unit_id: int
    since_ms: int
    until_ms: int | None
    frozen: bool
    score: float
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionRow:
    """An abstention as it is stored."""

    unit_id: int
    from_day: date
    to_day: date
    reason: str


def replace_findings(
    connection: Connection,
    detector: str,
    version: str,
    params: dict[str, Any],
    units: list[int],
    rows: list[FindingRow],
) -> None:
    """Store what a detector says of units now."""
    keep = [(row.unit_id, from_ms(row.since_ms)) for row in rows]
    connection.execute(
        "UPDATE findings SET superseded_at = now() WHERE detector = %s AND unit_id = ANY(%s) AND superseded_at IS NULL "
        "AND (unit_id, since_at) NOT IN (SELECT * FROM unnest(%s::integer[], %s::timestamptz[]))",
        [detector, units, [u for u, _ in keep], [s for _, s in keep]],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO findings AS f (detector, version, unit_id, since_at, until_at, frozen, score, reasons, evidence, params) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (detector, unit_id, since_at) "
            "WHERE superseded_at IS NULL DO UPDATE SET version = excluded.version, until_at = excluded.until_at, "
            "frozen = excluded.frozen, score = excluded.score, reasons = excluded.reasons, evidence = excluded.evidence, "
            "params = excluded.params, found_at = now()",
            [
                (
                    detector,
                    version,
                    r.unit_id,
                    from_ms(r.since_ms),
                    from_ms(r.until_ms) if r.until_ms is not None else None,
                    r.frozen,
                    r.score,
                    list(r.reasons),
                    Jsonb(r.evidence),
                    Jsonb(params),
                )
                for r in rows
            ],
        )


def replace_abstentions(
    connection: Connection, detector: str, version: str, units: list[int], rows: list[AbstentionRow]
) -> None:
    """Store of which units, when and why a detector says that it cannot judge."""
    connection.execute(
        "UPDATE abstentions SET superseded_at = now() WHERE detector = %s AND unit_id = ANY(%s) AND superseded_at IS NULL "
        "AND (unit_id, from_day, reason) NOT IN (SELECT * FROM unnest(%s::integer[], %s::date[], %s::text[]))",
        [detector, units, [r.unit_id for r in rows], [r.from_day for r in rows], [r.reason for r in rows]],
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO abstentions (detector, version, unit_id, from_day, to_day, reason) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (detector, unit_id, from_day, reason) WHERE superseded_at IS NULL "
            "DO UPDATE SET to_day = excluded.to_day, version = excluded.version, found_at = now()",
            [(detector, version, r.unit_id, r.from_day, r.to_day, r.reason) for r in rows],
        )


def list_abstentions(connection: Connection, unit_id: int) -> list[dict[str, Any]]:
    """Read what could not be judged of a unit."""
    return connection.execute(
        "SELECT detector, from_day, to_day, reason, found_at FROM abstentions WHERE unit_id = %s AND superseded_at IS NULL "
        "ORDER BY from_day",
        [unit_id],
    ).fetchall()
