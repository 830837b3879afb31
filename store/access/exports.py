"""Files made for a log-in to fetch, and the rows that go into them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store.database.connection import Connection

KEPT_MINUTES = 60


def save_export(
    connection: Connection,
    user_id: int,
    kind: str,
    name: str,
    secret: bytes,
    content: bytes,
    rows: int,
) -> int:
    """Keep a file for an hour; returns its id."""
    row = connection.execute(
        "INSERT INTO exports (user_id, kind, name, secret, content, rows, expires_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, now() + make_interval(mins => %s)) RETURNING id",
        [user_id, kind, name, secret, content, rows, KEPT_MINUTES],
    ).fetchone()
    assert row is not None
    return int(row["id"])


def find_export(connection: Connection, export_id: int, user_id: int) -> dict[str, Any] | None:
    """Read a file that is a log-in's own and still kept."""
    return connection.execute(
        "SELECT kind, name, secret, content FROM exports WHERE id = %s AND user_id = %s AND expires_at > now()",
        [export_id, user_id],
    ).fetchone()


def occupancy(connection: Connection, estates: Sequence[int]) -> list[dict[str, Any]]:
    """Count an estate's homes by building: all, let today, and with an open lead that nobody lives there."""
    return connection.execute(
        "SELECT e.code AS estate, coalesce(b.code, 'none') AS building, count(*) AS homes, count(*) FILTER (WHERE EXISTS (SELECT FROM tenancies t "
        "WHERE t.unit_id = u.id AND t.valid_from <= current_date AND (t.valid_to IS NULL OR t.valid_to >= current_date))) AS let, "
        "count(*) FILTER (WHERE EXISTS (SELECT FROM alerts a WHERE a.detector = 'unoccupied' AND a.subject_kind = 'unit' "
        "AND a.subject_id = u.id AND a.ended_at IS NULL)) AS unoccupied_leads FROM units u JOIN estates e ON e.id = u.estate_id "
        "LEFT JOIN entrances n ON n.id = u.entrance_id LEFT JOIN buildings b ON b.id = n.building_id "
        "WHERE u.estate_id = ANY(%s) GROUP BY 1, 2 ORDER BY 1, 2",
        [list(estates)],
    ).fetchall()
