"""The days of a home that stand behind an alert about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceDay:
    """What is known of one unit on one local day; None where nothing is known."""

    day: date
    water_l: float | None
    water_cover: float
    """Share of the day that water readings cover, from 0 to 1."""
    energy_kwh: float | None
    energy_cover: float
    """Share of the day that electricity readings cover, from 0 to 1."""
    entries: int | None
    faults: Sequence[str]


def list_evidence_days(
    connection: Connection, unit_id: int, first: date, last: date
) -> list[EvidenceDay]:
    """List a unit's days from `first` to `last`, both included; days without facts are left out."""
    query = """
        SELECT day, water_l, water_cover, energy_kwh, energy_cover, entries, faults
        FROM unit_days
        WHERE unit_id = %s
          AND day BETWEEN %s AND %s
        ORDER BY day
    """
    with connection.cursor(row_factory=class_row(EvidenceDay)) as cursor:
        return cursor.execute(query, [unit_id, first, last]).fetchall()
