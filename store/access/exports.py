"""Files that a user has made to be fetched within an hour, and the counts that go into one kind of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from store.database.connection import Connection

#: Minutes for which a file is stored.
FILE_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """A file: what it holds (`kind`), its file name, its bytes, and the secret that its addresses
    are signed with.
    """

    kind: str
    name: str
    secret: bytes
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildingOccupancy:
    """Homes of one building: all, let today, and with an open lead that nobody lives there."""

    estate: str
    building: str
    homes: int
    let: int
    unoccupied_leads: int


def save_export(connection: Connection, user_id: int, file: ExportFile, *, rows: int) -> int:
    """Store a user's file with its number of rows for an hour; returns its id."""
    row = connection.execute(
        """
        INSERT INTO exports (user_id, kind, name, secret, content, rows, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s, now() + make_interval(mins => %s))
        RETURNING id
        """,
        [user_id, file.kind, file.name, file.secret, file.content, rows, FILE_MINUTES],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def find_export(connection: Connection, export_id: int, user_id: int) -> ExportFile | None:
    """Read a file; None where it is not this user's or its hour is over."""
    with connection.cursor(row_factory=class_row(ExportFile)) as cursor:
        return cursor.execute(
            """
            SELECT kind, name, secret, content
            FROM exports
            WHERE id = %s
              AND user_id = %s
              AND expires_at > now()
            """,
            [export_id, user_id],
        ).fetchone()


def count_occupancy(connection: Connection, estates: Sequence[int]) -> list[BuildingOccupancy]:
    """Count the homes of estates by building."""
    with connection.cursor(row_factory=class_row(BuildingOccupancy)) as cursor:
        return cursor.execute(_COUNT_OCCUPANCY, [list(estates)]).fetchall()


_COUNT_OCCUPANCY = """
    SELECT
        e.code AS estate,
        coalesce(b.code, 'none') AS building,
        count(*) AS homes,
        count(*) FILTER (WHERE EXISTS (
            SELECT
            FROM tenancies t
            WHERE t.unit_id = u.id
              AND t.valid_from <= current_date
              AND (t.valid_to IS NULL OR t.valid_to >= current_date)
        )) AS let,
        count(*) FILTER (WHERE EXISTS (
            SELECT
            FROM alerts a
            WHERE a.detector = 'unoccupied'
              AND a.subject_kind = 'unit'
              AND a.subject_id = u.id
              AND a.ended_at IS NULL
        )) AS unoccupied_leads
    FROM units u
    JOIN estates e ON e.id = u.estate_id
    LEFT JOIN entrances n ON n.id = u.entrance_id
    LEFT JOIN buildings b ON b.id = n.building_id
    WHERE u.estate_id = ANY(%s)
    GROUP BY 1, 2
    ORDER BY 1, 2
"""
