"""Retention: readings and events older than a limit are really gone, a whole partition at a time.

Nothing of a series is deleted row by row, and nothing at all unless a site has set a limit. What a
law asks to be kept or dropped is the site's to say. Facts, findings and alerts are evidence and are
not touched here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg import sql
from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection
from store.database.migration import Level, level_of

SERIES = ("readings", "events")


def drop_before(connection: Connection, series: str, cutoff: datetime) -> list[str]:
    """Drop the partitions (or chunks) of a series that lie wholly before an instant.

    Returns their names. Raises: ValueError for what is no series.
    """
    if series not in SERIES:
        raise ValueError(f"{series!r} is no series; use one of {', '.join(SERIES)}")
    with connection.transaction():
        if level_of(connection) is Level.TIMESCALE:
            with connection.cursor(row_factory=scalar_row) as cursor:
                return [str(name) for name in cursor.execute(_DROP_CHUNKS, [series, cutoff])]
        with connection.cursor(row_factory=class_row(_Partition)) as cursor:
            partitions = cursor.execute(_LIST_PARTITIONS, [series]).fetchall()
        dropped = sorted(partition.name for partition in partitions if partition.ends_at <= cutoff)
        for name in dropped:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    return dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class _Partition:
    """A month's table, and the instant at which it ends."""

    name: str
    ends_at: datetime


_DROP_CHUNKS = """
    SELECT drop_chunks(%s::regclass, older_than => %s)
"""

# A partition's bounds stand in the catalogue only as text: FOR VALUES FROM ('…') TO ('…').
_LIST_PARTITIONS = r"""
    SELECT
        c.relname AS name,
        (regexp_match(
            pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'
        ))[1]::timestamptz AS ends_at
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = %s::regclass
"""


def try_lock_maintenance(connection: Connection) -> bool:
    """Lock maintenance until the transaction ends; False where another process does it now."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(_TRY_LOCK).fetchone())


_TRY_LOCK = """
    SELECT pg_try_advisory_xact_lock(hashtext('anju.maintenance'))
"""


def delete_old(
    connection: Connection, now: datetime, cutoffs: Mapping[str, datetime]
) -> dict[str, int]:
    """Delete what is over, and return how many rows of each kind.

    Sessions, begun sign-ins, idempotency keys and exports end by themselves. The rest is deleted
    before its cutoff: `cutoffs` names `deliveries`, `quarantine` and `lookups`. What a person still
    works on stays: open deliveries and open quarantine are never old.
    """
    values = {"now": now, **cutoffs}
    return {
        name: connection.execute(statement, values).rowcount
        for name, statement in _DELETE_OLD.items()
    }


_DELETE_OLD: dict[str, LiteralString] = {
    "sessions": """
        DELETE FROM sessions
        WHERE expires_at < %(now)s
    """,
    "sign_in_attempts": """
        DELETE FROM sign_in_attempts
        WHERE expires_at < %(now)s
    """,
    "idempotency_keys": """
        DELETE FROM idempotency_keys
        WHERE made_at < %(now)s - interval '1 day'
    """,
    "exports": """
        DELETE FROM exports
        WHERE expires_at < %(now)s
    """,
    "deliveries": """
        DELETE FROM notice_deliveries
        WHERE result IS NOT NULL
          AND result_at < %(deliveries)s
    """,
    "quarantine": """
        DELETE FROM quarantine
        WHERE resolution IS NOT NULL
          AND resolved_at < %(quarantine)s
    """,
    "lookups": """
        DELETE FROM people.lookups
        WHERE asked_at < %(lookups)s
    """,
}
