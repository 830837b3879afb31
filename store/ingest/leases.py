"""Leases of sessions at the broker: whoever holds a session's lease reads it.

A lease runs out by the database's clock. So a worker that was killed, stopped or cut off loses its
leases to the others within seconds, and whoever takes one reads on what the broker kept for the
session. Two holders at a time do no harm to the data, whose keys tell duplicates; the broker itself
throws the former one out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldLeases:
    """What a worker holds now, and which of it is beyond its fair share, to be released."""

    names: frozenset[str]
    surplus: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shares:
    """How many workers are alive, how many leases there are, and which the worker holds."""

    workers: int
    leases: int
    held: list[str]


def renew(
    connection: Connection, worker: str, names: Sequence[str], duration: timedelta
) -> HeldLeases:
    """Renew what a worker holds, and take what is free up to its fair share. Commits nothing.

    Leases that stand in the table and not in `names` are left over from a larger number. They are
    held like any other.
    """
    connection.execute(_NOTE_ALIVE, [worker])
    connection.execute(_FORGET_WORKERS)
    connection.execute(_ADD_LEASES, [list(names)])
    connection.execute(_EXTEND, [duration, worker])
    with connection.cursor(row_factory=class_row(_Shares)) as cursor:
        shares = cursor.execute(_COUNT_SHARES, [duration, worker]).fetchone()
    assert shares is not None
    fair_share = ceil(shares.leases / max(1, shares.workers))
    held = list(shares.held)
    if len(held) < fair_share:
        with connection.cursor(row_factory=scalar_row) as taken:
            held += taken.execute(_TAKE_FREE, [worker, duration, fair_share - len(held)])
    return HeldLeases(names=frozenset(held), surplus=tuple(held[fair_share:]))


_NOTE_ALIVE = """
    INSERT INTO ingest_workers (name, seen_at)
    VALUES (%s, now())
    ON CONFLICT (name) DO UPDATE
    SET seen_at = now()
"""

_FORGET_WORKERS = """
    DELETE FROM ingest_workers
    WHERE seen_at < now() - interval '1 day'
"""

_ADD_LEASES = """
    INSERT INTO ingest_leases (name)
    SELECT unnest(%s::text[])
    ON CONFLICT DO NOTHING
"""

_EXTEND = """
    UPDATE ingest_leases
    SET expires_at = now() + %s
    WHERE holder = %s
"""

_COUNT_SHARES = """
    SELECT
        (SELECT count(*) FROM ingest_workers WHERE seen_at > now() - %s) AS workers,
        (SELECT count(*) FROM ingest_leases) AS leases,
        ARRAY(SELECT name FROM ingest_leases WHERE holder = %s ORDER BY name) AS held
"""

_TAKE_FREE = """
    UPDATE ingest_leases
    SET holder = %s, expires_at = now() + %s
    WHERE name IN (
        SELECT name
        FROM ingest_leases
        WHERE holder IS NULL
           OR expires_at < now()
        ORDER BY name
        LIMIT %s
        FOR UPDATE SKIP LOCKED
    )
    RETURNING name
"""


def release(connection: Connection, worker: str, names: Sequence[str]) -> None:
    """Release leases, so that another worker takes them at once."""
    connection.execute(_RELEASE, [worker, list(names)])


_RELEASE = """
    UPDATE ingest_leases
    SET holder = NULL, expires_at = NULL
    WHERE holder = %s
      AND name = ANY(%s)
"""


def leave(connection: Connection, worker: str) -> None:
    """Note that a worker is gone; its share falls to the others."""
    connection.execute("DELETE FROM ingest_workers WHERE name = %s", [worker])


def remove(connection: Connection, name: str) -> None:
    """Remove a lease whose session at the broker was emptied and ended."""
    connection.execute("DELETE FROM ingest_leases WHERE name = %s", [name])
