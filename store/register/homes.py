"""What was known of homes on a day: tenancies, residents, declarations, devices, reports of others.

A row counts from the day on which the office learned of it (`recorded_on`). Where that is not
given, it counts from its first day. So a night of the past sees the register of that night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import tuple_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Homes:
    """Rows about units, each beginning with the unit's id. Ends are None while something lasts."""

    #: unit, first day, last day
    tenancies: list[tuple[int, date, date | None]]
    #: unit, kind (absence, guest, carer, repair, objection), first day, last day
    declarations: list[tuple[int, str, date, date | None]]
    #: unit, first day, last day of a registered resident of the household that holds it
    residents: list[tuple[int, date, date | None]]
    #: unit, family (water, energy, door, lock), from when, until when
    devices: list[tuple[int, str, datetime, datetime | None]]
    #: unit, source (tip_off, outside), kind, day
    told: list[tuple[int, str, str, date]]


def read_homes(connection: Connection, units: Sequence[int], as_of: date) -> Homes:
    """Read what was known of units on a day."""
    values: dict[str, Any] = {"units": list(units), "day": as_of}
    cursor = connection.cursor(row_factory=tuple_row)
    return Homes(
        tenancies=cursor.execute(_TENANCIES, values).fetchall(),
        declarations=cursor.execute(_DECLARATIONS, values).fetchall(),
        residents=cursor.execute(_RESIDENTS, values).fetchall(),
        devices=cursor.execute(_DEVICES, values).fetchall(),
        told=cursor.execute(_REPORTS, values).fetchall(),
    )


_TENANCIES = """
    SELECT unit_id, valid_from, valid_to
    FROM tenancies
    WHERE unit_id = ANY(%(units)s)
      AND coalesce(recorded_on, valid_from) <= %(day)s
    ORDER BY unit_id, valid_from
"""
_DECLARATIONS = """
    SELECT unit_id, kind, valid_from, valid_to
    FROM declarations
    WHERE unit_id = ANY(%(units)s)
      AND coalesce(recorded_on, valid_from) <= %(day)s
    ORDER BY unit_id, valid_from
"""
_RESIDENTS = """
    SELECT
        t.unit_id,
        greatest(t.valid_from, r.valid_from),
        least(t.valid_to, r.valid_to)
    FROM tenancies t
    JOIN residents r ON r.household_id = t.household_id
    WHERE t.unit_id = ANY(%(units)s)
      AND coalesce(r.recorded_on, r.valid_from) <= %(day)s
      AND coalesce(t.recorded_on, t.valid_from) <= %(day)s
      AND (t.valid_to IS NULL OR r.valid_from <= t.valid_to)
"""
_DEVICES = """
    SELECT
        u.id,
        CASE
            WHEN d.kind = 'water_meter' THEN 'water'
            WHEN d.kind = 'electricity_meter' THEN 'energy'
            WHEN m.unit_id IS NULL THEN 'door'
            ELSE 'lock'
        END,
        m.valid_from,
        m.valid_to
    FROM units u
    JOIN mounts m
        ON m.unit_id = u.id OR (m.unit_id IS NULL AND m.entrance_id = u.entrance_id)
    JOIN devices d ON d.id = m.device_id
    WHERE u.id = ANY(%(units)s)
      AND d.kind IN ('water_meter', 'electricity_meter', 'door')
      AND m.valid_from < %(day)s::date + 1
"""
_REPORTS = """
    SELECT unit_id, 'tip_off', kind, received_on
    FROM tip_offs
    WHERE unit_id = ANY(%(units)s)
      AND received_on <= %(day)s
    UNION ALL
    SELECT t.unit_id, 'outside', f.kind, f.received_on
    FROM tenancies t
    JOIN outside_facts f ON f.household_id = t.household_id
    WHERE t.unit_id = ANY(%(units)s)
      AND f.received_on <= %(day)s
      AND (f.withdrawn_on IS NULL OR f.withdrawn_on > %(day)s)
      AND t.valid_from <= %(day)s
      AND (t.valid_to IS NULL OR t.valid_to >= f.received_on)
    ORDER BY 1, 4
"""
