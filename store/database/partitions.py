"""Month partitions of readings and events on plain PostgreSQL.

On a hypertable there is nothing to do. Ingest calls `Partitions.cover` with the span of each batch
before it writes. What is known to exist is remembered, so that the usual batch asks nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from psycopg import sql

from store.database.connection import Connection, advisory_lock
from store.database.migration import Level, level_of

_PARENTS = ("readings", "events")
#: A span wider than this in one batch is a bug or an attack, not a meter.
MAX_MONTHS = 12 * 60


class Month(NamedTuple):
    """A month, in UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, instant: datetime) -> Month:
        """Return the month that an instant falls in."""
        utc = instant.astimezone(UTC)
        return cls(utc.year, utc.month)

    @property
    def next(self) -> Month:
        """The month that follows."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)


class Partitions:
    """Which months exist, for one process."""

    def __init__(self, connection: Connection) -> None:
        self._hypertable = level_of(connection) is Level.TIMESCALE
        self._known: set[Month] = set()

    def forget(self) -> None:
        """Forget what is known to exist: retention may have dropped a month."""
        self._known.clear()

    def cover(self, connection: Connection, first: datetime, last: datetime) -> None:
        """Make sure that every month from `first` to `last` has its partition.

        The open transaction is committed.

        Raises: ValueError where the span is wider than MAX_MONTHS.
        """
        if self._hypertable:
            return
        missing = [month for month in months_between(first, last) if month not in self._known]
        if not missing:
            return
        with advisory_lock(connection, "anju partitions"):
            for month in missing:
                for parent in _PARENTS:
                    connection.execute(_create_statement(parent, month))
            # Within the lock: another worker sees only tables that are committed.
            connection.commit()
        self._known.update(missing)


def months_between(first: datetime, last: datetime) -> list[Month]:
    """List the months, in UTC, that a span touches.

    Raises: ValueError where they are more than MAX_MONTHS.
    """
    month = Month.of(first)
    end = Month.of(last)
    count = (end.year - month.year) * 12 + end.number - month.number + 1
    if count > MAX_MONTHS:
        raise ValueError(f"one batch spans {count} months; the limit is {MAX_MONTHS}")
    months: list[Month] = []
    for _ in range(count):
        months.append(month)
        month = month.next
    return months


def _create_statement(parent: str, month: Month) -> sql.Composed:
    return _CREATE_PARTITION.format(
        name=sql.Identifier(f"{parent}_{month.year:04d}_{month.number:02d}"),
        parent=sql.Identifier(parent),
        low=sql.Literal(_start_of(month)),
        high=sql.Literal(_start_of(month.next)),
    )


def _start_of(month: Month) -> str:
    return f"{month.year:04d}-{month.number:02d}-01 00:00:00+00"


_CREATE_PARTITION = sql.SQL("""
    CREATE TABLE IF NOT EXISTS {name}
    PARTITION OF {parent}
    FOR VALUES FROM ({low}) TO ({high})
""")
