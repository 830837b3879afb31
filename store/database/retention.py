"""Retention: readings and events older than a limit are really gone, a whole partition or chunk at a time.

Nothing is deleted row by row, and nothing at all unless a site has set a limit: what a law asks to be kept or dropped is
the site's to say. Facts, findings and alerts are evidence and are not touched here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from store.database.connection import Connection
from store.database.migration import Level, level_of

SERIES = ("readings", "events")


def drop_before(connection: Connection, series: str, cutoff: datetime) -> list[str]:
    """Drop the partitions (or chunks) of a series that lie wholly before an instant; returns their names.

    Raises: ValueError for what is no series.
    """
    if series not in SERIES:
        raise ValueError(f"{series!r} is no series; use one of {', '.join(SERIES)}")
    with connection.transaction():
        if level_of(connection) is Level.TIMESCALE:
            gone = connection.execute(
                "SELECT drop_chunks(%s::regclass, older_than => %s) AS name", [series, cutoff]
            )
            return [str(row["name"]) for row in gone]
        rows = connection.execute(
            "SELECT c.relname AS name, (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)'))[1]"
            "::timestamptz AS until FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass",
            [series],
        ).fetchall()
        old = sorted(row["name"] for row in rows if row["until"] <= cutoff)
        for name in old:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    return old


def alone(connection: Connection) -> bool:
    """Be the only one who keeps house until the transaction ends; False where another process is at it."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtext('anju.keeping')) AS held"
    ).fetchone()
    return bool(row and row["held"])


def delete_old(
    connection: Connection, now: datetime, cutoffs: Mapping[str, datetime]
) -> dict[str, int]:
    """Delete what is over: sessions, begun log-ins, kept answers and exports by their own end, the rest before its cutoff.

    What a person still works on stays: open deliveries and open quarantine are never old.
    """
    values = {"now": now, **cutoffs}
    return {name: connection.execute(query, values).rowcount for name, query in _OVER.items()}


_OVER: dict[str, LiteralString] = {
    "sessions": "DELETE FROM sessions WHERE expires_at < %(now)s",
    "sign_in_attempts": "DELETE FROM sign_in_attempts WHERE expires_at < %(now)s",
    "idempotency_keys": "DELETE FROM idempotency_keys WHERE made_at < %(now)s - interval '1 day'",
    "exports": "DELETE FROM exports WHERE expires_at < %(now)s",
    "deliveries": "DELETE FROM notice_deliveries WHERE result IS NOT NULL AND result_at < %(deliveries)s",
    "quarantine": "DELETE FROM quarantine WHERE resolution IS NOT NULL AND resolved_at < %(quarantine)s",
    "lookups": "DELETE FROM people.lookups WHERE asked_at < %(lookups)s",
}
