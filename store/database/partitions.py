"""Month partitions of readings and events on plain PostgreSQL; on a hypertable there is nothing to do.

Ingest calls `Partitions.cover` with the span of each batch before it writes. What is known to exist is remembered, so
that the usual batch asks nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from psycopg import sql

from store.database.connection import Connection, advisory_lock
from store.database.migration import Level, level_of

_PARENTS = ("readings", "events")
#: A span wider than this in one batch is a bug or an attack, not a meter.
MAX_MONTHS = 12 * 60


class Partitions:
    """Which months exist, for one process."""

    def __init__(self, connection: Connection) -> None:
        self._hypertable = level_of(connection) is Level.TIMESCALE
        self._known: set[tuple[int, int]] = set()

    def forget(self) -> None:
        """Forget what is known to exist: retention may have dropped a month that late data now want."""
        self._known.clear()

    def cover(self, connection: Connection, first: datetime, last: datetime) -> None:
        """Make sure that every month from `first` to `last` has its partition. Runs outside the batch's transaction."""
        if self._hypertable:
            return
        missing = [month for month in months_between(first, last) if month not in self._known]
        if not missing:
            return
        with advisory_lock(connection, "anju partitions"):
            for year, month in missing:
                for parent in _PARENTS:
                    connection.execute(_create(parent, year, month))
            # Before another comes in: what is not committed is no table to it, and cannot be made twice.
            connection.commit()
        self._known.update(missing)


def months_between(first: datetime, last: datetime) -> list[tuple[int, int]]:
    """List the months, in UTC, that a span touches.

    Raises: ValueError where they are more than MAX_MONTHS.
    """
    start, end = first.astimezone(UTC), last.astimezone(UTC)
    count = (end.year - start.year) * 12 + end.month - start.month + 1
    if count > MAX_MONTHS:
        raise ValueError(f"one batch spans {count} months; the limit is {MAX_MONTHS}")
    return [
        ((start.year * 12 + start.month - 1 + i) // 12, (start.month - 1 + i) % 12 + 1)
        for i in range(count)
    ]


def _create(parent: str, year: int, month: int) -> sql.Composed:
    following = (year + month // 12, month % 12 + 1)
    return sql.SQL(
        "CREATE TABLE IF NOT EXISTS {name} PARTITION OF {parent} FOR VALUES FROM ({low}) TO ({high})"
    ).format(
        name=sql.Identifier(f"{parent}_{year:04d}_{month:02d}"),
        parent=sql.Identifier(parent),
        low=sql.Literal(f"{year:04d}-{month:02d}-01 00:00:00+00"),
        high=sql.Literal(f"{following[0]:04d}-{following[1]:02d}-01 00:00:00+00"),
    )
