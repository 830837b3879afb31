"""The clock of a night, and the estates that have nights."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime

from store.database.connection import Connection, advisory_lock


def set_clock(connection: Connection, clock: datetime) -> None:
    """Let what this transaction says be said at an instant; beyond it the wall's clock counts again."""
    connection.execute("SELECT set_config('anju.clock', %s, true)", [clock.isoformat()])


def held(connection: Connection, estate_id: int) -> AbstractContextManager[None]:
    """Keep an estate's nights to this connection: a second worker waits until they are over, and finds them done."""
    return advisory_lock(connection, "anju night", estate_id)


def list_estates(connection: Connection, code: str | None = None) -> list[tuple[int, str, str]]:
    """List estates (id, code, time zone) that have units."""
    rows = connection.execute(
        "SELECT id, code, timezone FROM estates e WHERE (%s::text IS NULL OR code = %s) "
        "AND EXISTS (SELECT FROM units u WHERE u.estate_id = e.id) ORDER BY id",
        [code, code],
    )
    return [(row["id"], row["code"], row["timezone"]) for row in rows]


def mark_recording(connection: Connection, estates: list[str], *, as_sent: bool) -> list[str]:
    """Say of estates whether their messages count as received when they were sent; returns those that do not exist."""
    done = connection.execute(
        "UPDATE estates SET received_as_sent = %s WHERE code = ANY(%s) RETURNING code",
        [as_sent, estates],
    ).fetchall()
    return sorted(set(estates) - {row["code"] for row in done})


def too_late(connection: Connection, known_at: datetime) -> int:
    """Count the batches that arrived after an instant and wait to become facts."""
    row = connection.execute(
        "SELECT count(*) AS n FROM dirty_spans WHERE received_at > %s", [known_at]
    ).fetchone()
    return int(row["n"]) if row else 0
