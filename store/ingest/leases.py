"""Seats at the broker, leased: each is one session there, and whoever holds its lease reads it.

A lease runs out by the database's clock, so that a worker that was killed, stopped or cut off loses its seats to the others
within seconds, and what the broker kept for the session is read on by whoever takes it. Two holders at a time do no
harm to the data, which are told by their keys; the broker itself throws the former one out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a worker holds now, and what it should give up so that the others have their share."""

    seats: frozenset[str]
    spare: tuple[str, ...]


def renew(connection: Connection, worker: str, seats: Sequence[str], lease: timedelta) -> Lease:
    """Say that a worker is alive, renew what it holds, and take what is free up to its fair share. Commits nothing.

    Seats that stand in the table and not in `seats` are left over from a larger number; they are held like any other.
    """
    connection.execute(
        "INSERT INTO ingest_workers VALUES (%s, now()) ON CONFLICT (name) DO UPDATE SET seen_at = now()",
        [worker],
    )
    connection.execute("DELETE FROM ingest_workers WHERE seen_at < now() - interval '1 day'")
    connection.execute(
        "INSERT INTO ingest_leases (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
        [list(seats)],
    )
    connection.execute(
        "UPDATE ingest_leases SET expires_at = now() + %s WHERE holder = %s", [lease, worker]
    )
    row = connection.execute(
        "SELECT (SELECT count(*) FROM ingest_workers WHERE seen_at > now() - %s) AS workers, (SELECT count(*) FROM ingest_leases) AS seats, "
        "ARRAY(SELECT name FROM ingest_leases WHERE holder = %s ORDER BY name) AS mine",
        [lease, worker],
    ).fetchone()
    assert row is not None
    fair, mine = -(-row["seats"] // max(1, row["workers"])), list(row["mine"])
    if len(mine) < fair:
        taken = connection.execute(
            "UPDATE ingest_leases SET holder = %s, expires_at = now() + %s WHERE name IN (SELECT name FROM ingest_leases "
            "WHERE holder IS NULL OR expires_at < now() ORDER BY name LIMIT %s FOR UPDATE SKIP LOCKED) RETURNING name",
            [worker, lease, fair - len(mine)],
        )
        mine += [row["name"] for row in taken]
    return Lease(seats=frozenset(mine), spare=tuple(mine[fair:]))


def release(connection: Connection, worker: str, seats: Sequence[str]) -> None:
    """Give seats up, so that another worker takes them at once."""
    connection.execute(
        "UPDATE ingest_leases SET holder = NULL, expires_at = NULL WHERE holder = %s AND name = ANY(%s)",
        [worker, list(seats)],
    )


def leave(connection: Connection, worker: str) -> None:
    """Say that a worker is gone; its share falls to the others."""
    connection.execute("DELETE FROM ingest_workers WHERE name = %s", [worker])


def remove(connection: Connection, seat: str) -> None:
    """Remove a seat that is not wanted any more, after its session at the broker was emptied and ended."""
    connection.execute("DELETE FROM ingest_leases WHERE name = %s", [seat])
