"""What has changed in the series and is not in the facts yet, batch by batch as it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from store.database.connection import Connection

#: Rows that one look takes at most; a row is a batch of one estate.
#: A look takes what a day holds, since every look computes the days of its units anew.
SPANS_PER_LOOK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyUnit:
    """A unit whose facts are out of date, and between which instants its series changed."""

    unit_id: int
    estate_id: int
    from_at: datetime
    to_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyLook:
    """What one look at the dirty spans found: the ids of the rows read, in order, and the units."""

    span_ids: Sequence[int]
    units: Sequence[DirtyUnit]


def take_dirty_spans(
    connection: Connection, estates: Sequence[int], known_at: datetime, *, after: int = 0
) -> DirtyLook:
    """Find the units of estates whose series changed, each with the whole span that changed.

    A door's span touches every unit of its entrance: a passage there belongs to whoever lives
    behind it. A gate's span touches every unit of its building, or of the estate, that has a
    vehicle. Rows with an id up to `after`, the last one of the look before, are left out: a row
    that reaches beyond `known_at` stays, and must not be taken twice.
    """
    rows = connection.execute(
        """
        SELECT id
        FROM dirty_spans
        WHERE estate_id = ANY(%s)
          AND received_at <= %s
          AND id > %s
        ORDER BY id
        LIMIT %s
        """,
        [list(estates), known_at, after, SPANS_PER_LOOK],
    )
    span_ids = [row["id"] for row in rows]
    with connection.cursor(row_factory=class_row(DirtyUnit)) as cursor:
        units = cursor.execute(_DIRTY_UNITS, [span_ids]).fetchall()
    return DirtyLook(span_ids=span_ids, units=units)


_DIRTY_UNITS = """
    WITH spans AS (
        SELECT d.device_id, min(d.from_ms) AS from_ms, max(d.to_ms) AS to_ms
        FROM dirty_spans s, unnest(s.devices, s.from_ms, s.to_ms) AS d (device_id, from_ms, to_ms)
        WHERE s.id = ANY(%s)
        GROUP BY d.device_id
    )
    SELECT u.id AS unit_id, h.estate_id,
           to_timestamp(min(s.from_ms) / 1000.0) AS from_at,
           to_timestamp(max(s.to_ms) / 1000.0) AS to_at
    FROM spans s
    CROSS JOIN LATERAL (
        SELECT unit_id AS id
        FROM mounts
        WHERE device_id = s.device_id
          AND unit_id IS NOT NULL
        UNION ALL
        SELECT n.id
        FROM mounts m
        JOIN units n ON n.entrance_id = m.entrance_id
        WHERE m.device_id = s.device_id
          AND m.unit_id IS NULL
        UNION ALL
        SELECT n.id
        FROM devices d
        JOIN mounts m ON m.device_id = d.id
        JOIN units n ON n.estate_id = d.estate_id
        LEFT JOIN entrances e ON e.id = n.entrance_id
        WHERE d.id = s.device_id
          AND d.kind = 'gate'
          AND (m.building_id IS NULL OR m.building_id = e.building_id)
          AND EXISTS (
              SELECT
              FROM tenancies t
              JOIN vehicles v ON v.household_id = t.household_id
              WHERE t.unit_id = n.id
          )
    ) u
    JOIN units h ON h.id = u.id
    GROUP BY u.id, h.estate_id
    ORDER BY u.id
"""


def clear_dirty_spans(connection: Connection, span_ids: Sequence[int], known_at: datetime) -> None:
    """Remove spans that are in the facts now; those of the register that reach beyond stay."""
    connection.execute(
        """
        DELETE FROM dirty_spans
        WHERE id = ANY(%s)
          AND NOT EXISTS (
              SELECT
              FROM unnest(to_ms) AS t (ms)
              WHERE to_timestamp(t.ms / 1000.0) > %s
                AND received_at = '-infinity'
          )
        """,
        [list(span_ids), known_at],
    )


def count_spans_received_after(connection: Connection, known_at: datetime) -> int:
    """Count the batches that arrived after an instant and wait to become facts."""
    row = connection.execute(
        "SELECT count(*) AS spans FROM dirty_spans WHERE received_at > %s", [known_at]
    ).fetchone()
    assert row is not None
    return int(row["spans"])


def is_settled(connection: Connection) -> bool:
    """Tell whether facts exist, estates have been judged, and hardly any span is dirty."""
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM dirty_spans) < 50
               AND EXISTS (SELECT FROM unit_days)
               AND EXISTS (SELECT FROM judged_days) AS is_settled
        """
    ).fetchone()
    assert row is not None
    return bool(row["is_settled"])
