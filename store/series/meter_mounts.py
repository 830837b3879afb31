"""The meters behind units, while they were mounted there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterMount:
    """A register point behind a unit's supply, while it was mounted there (ms UTC)."""

    unit_id: int
    device_id: int
    point_id: int
    point: str
    profile: str
    from_ms: int
    to_ms: int | None
    """None while it still is."""


def list_meter_mounts(
    connection: Connection, units: Sequence[int], points: Sequence[str]
) -> list[MeterMount]:
    """List the register points of units by name, with the time for which each was mounted."""
    with connection.cursor(row_factory=class_row(MeterMount)) as cursor:
        return cursor.execute(
            """
            SELECT m.unit_id, d.id AS device_id, p.id AS point_id, p.name AS point, d.profile,
                   (extract(epoch FROM m.valid_from) * 1000)::bigint AS from_ms,
                   (extract(epoch FROM m.valid_to) * 1000)::bigint AS to_ms
            FROM mounts m
            JOIN devices d ON d.id = m.device_id
            JOIN points p ON p.device_id = d.id
            WHERE m.unit_id = ANY(%s)
              AND p.name = ANY(%s)
            ORDER BY m.unit_id, p.id
            """,
            [list(units), list(points)],
        ).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitMeter:
    """A meter that is or was mounted at a unit, and the name of its register point."""

    unit_id: int
    device_id: int
    point: str


def list_meters(connection: Connection, units: Sequence[int]) -> list[UnitMeter]:
    """List the water and electricity meters of units."""
    with connection.cursor(row_factory=class_row(UnitMeter)) as cursor:
        return cursor.execute(
            """
            SELECT m.unit_id, d.id AS device_id,
                   CASE d.kind WHEN 'water_meter' THEN 'water_m3' ELSE 'energy_kwh' END AS point
            FROM mounts m
            JOIN devices d ON d.id = m.device_id
            WHERE m.unit_id = ANY(%s)
              AND d.kind IN ('water_meter', 'electricity_meter')
            ORDER BY 1, 2
            """,
            [list(units)],
        ).fetchall()
