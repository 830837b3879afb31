"""Welfare watches: who asked to be looked after, and the signs of life that their home gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SignsOfLife:
    """A watch in force, with the last signs of life of its home."""

    unit_id: int
    unit: str
    estate_id: int
    timezone: str
    quiet_hours: float
    """Waking hours without a sign after which somebody calls."""
    awake_from: time
    awake_to: time
    consented_at: datetime
    water_at: datetime | None
    """When water was last drawn."""
    passed_at: datetime | None
    """When the person last passed a door."""
    passed_direction: str | None
    visited_at: datetime | None
    """When somebody last looked, and dismissed the alert."""
    sensor_at: datetime | None
    """When the water meter last reported."""
    away: bool
    """Whether an absence is declared for today."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WelfareWatch:
    """A watch in force: the home and the agreed hours, not the person."""

    id: int
    estate: str
    unit: str
    quiet_hours: float
    awake_from: time
    awake_to: time
    consented_at: datetime
    consented_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWelfareWatch:
    """What a resident agreed to; the hours are local."""

    unit_id: int
    resident: str
    quiet_hours: float
    awake_from: time
    awake_to: time
    consented_at: datetime


def list_signs(connection: Connection, now: datetime) -> list[SignsOfLife]:
    """List the watches in force with their last signs of life up to an instant.

    Signs are water drawn, the person's own passages, and visits that ended in a dismissal.
    Passages and water older than four days are not looked at.
    """
    with connection.cursor(row_factory=class_row(SignsOfLife)) as cursor:
        return cursor.execute(_LIST_SIGNS, {"now": now}).fetchall()


def add_watch(connection: Connection, new: NewWelfareWatch, *, actor: str) -> int | None:
    """Begin a watch and return its id; None where no such resident lives in the unit today.

    Raises: DuplicateKey where the unit has a watch already.
    """
    row = connection.execute(
        """
        INSERT INTO welfare_watches (
            unit_id, resident_id, quiet_hours, awake_from, awake_to, consented_at, consented_by
        )
        SELECT
            t.unit_id, r.id, %(quiet_hours)s, %(awake_from)s, %(awake_to)s,
            %(consented_at)s, %(actor)s
        FROM residents r
        JOIN tenancies t ON t.household_id = r.household_id
        WHERE r.code = %(resident)s
          AND t.unit_id = %(unit_id)s
          AND t.valid_from <= current_date
          AND (t.valid_to IS NULL OR t.valid_to >= current_date)
          AND (r.valid_to IS NULL OR r.valid_to >= current_date)
        RETURNING id
        """,
        {
            "unit_id": new.unit_id,
            "resident": new.resident,
            "quiet_hours": new.quiet_hours,
            "awake_from": new.awake_from,
            "awake_to": new.awake_to,
            "consented_at": new.consented_at,
            "actor": actor,
        },
    ).fetchone()
    return int(row["id"]) if row else None


def end_watch(
    connection: Connection, watch_id: int, estates: Collection[int], *, actor: str
) -> bool:
    """End a watch; False where none is in force within the estates."""
    ended = connection.execute(
        """
        UPDATE welfare_watches w
        SET ended_at = anju_now(), ended_by = %s
        FROM units u
        WHERE w.id = %s
          AND u.id = w.unit_id
          AND u.estate_id = ANY(%s)
          AND w.ended_at IS NULL
        """,
        [actor, watch_id, list(estates)],
    )
    return ended.rowcount == 1


def list_watches(connection: Connection, estates: Collection[int]) -> list[WelfareWatch]:
    """List the watches in force at estates."""
    query = """
        SELECT
            w.id, e.code AS estate, u.code AS unit, w.quiet_hours, w.awake_from, w.awake_to,
            w.consented_at, w.consented_by
        FROM welfare_watches w
        JOIN units u ON u.id = w.unit_id
        JOIN estates e ON e.id = u.estate_id
        WHERE w.ended_at IS NULL
          AND u.estate_id = ANY(%s)
        ORDER BY w.id
    """
    with connection.cursor(row_factory=class_row(WelfareWatch)) as cursor:
        return cursor.execute(query, [list(estates)]).fetchall()


_LIST_SIGNS = """
    WITH w AS (
        SELECT *
        FROM welfare_watches
        WHERE ended_at IS NULL
    ), doors AS (
        SELECT w.id, m.device_id
        FROM w
        JOIN units u ON u.id = w.unit_id
        JOIN mounts m ON m.valid_to IS NULL
            AND (m.unit_id = u.id OR m.entrance_id = u.entrance_id)
    ), passages AS (
        SELECT d.id, e.at, e.data ->> 'direction' AS direction
        FROM doors d
        JOIN w ON w.id = d.id
        JOIN residents r ON r.id = w.resident_id
        JOIN events e ON e.device_id = d.device_id AND e.kind = 'passage'
        WHERE e.at > %(now)s - interval '4 days'
          AND e.at <= %(now)s
          AND (
              e.data ->> 'person' = r.code
              OR e.data ->> 'credential' IN (
                  SELECT code
                  FROM credentials c
                  WHERE c.resident_id = r.id
              )
          )
    )
    SELECT
        w.unit_id, w.quiet_hours, w.awake_from, w.awake_to, w.consented_at,
        u.code AS unit, u.estate_id, e.timezone,
        (
            SELECT max(f.water_last_use_at)
            FROM unit_days f
            WHERE f.unit_id = w.unit_id
              AND f.day > (%(now)s - interval '4 days')::date
        ) AS water_at,
        (
            SELECT max(p.at)
            FROM passages p
            WHERE p.id = w.id
        ) AS passed_at,
        (
            SELECT p.direction
            FROM passages p
            WHERE p.id = w.id
            ORDER BY p.at DESC
            LIMIT 1
        ) AS passed_direction,
        (
            SELECT max(a.ended_at)
            FROM alerts a
            JOIN alert_changes c ON c.alert_id = a.id AND c.step = 'dismissed'
            WHERE a.detector = 'no_sign_of_life'
              AND a.subject_kind = 'unit'
              AND a.subject_id = w.unit_id
        ) AS visited_at,
        (
            SELECT max(v.at)
            FROM mounts m
            JOIN points p ON p.device_id = m.device_id
            JOIN latest_values v ON v.point_id = p.id
            WHERE m.unit_id = w.unit_id
              AND m.valid_to IS NULL
              AND p.name = 'water_m3'
        ) AS sensor_at,
        EXISTS (
            SELECT
            FROM declarations d
            WHERE d.unit_id = w.unit_id
              AND d.kind = 'absence'
              AND d.valid_from <= (%(now)s AT TIME ZONE e.timezone)::date
              AND (
                  d.valid_to IS NULL
                  OR d.valid_to >= (%(now)s AT TIME ZONE e.timezone)::date
              )
        ) AS away
    FROM w
    JOIN units u ON u.id = w.unit_id
    JOIN estates e ON e.id = u.estate_id
    ORDER BY w.id
"""
