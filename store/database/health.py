"""What the database says of itself: is it up to date, and does it keep what it has committed?"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection
from store.database.migration import level_of, list_pending

#: Settings without which an acknowledged commit may be gone after the machine stops (PostgreSQL
#: manual, 19.5).
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """What was found."""

    #: As `server_version_num`, for instance 150004.
    version: int
    #: The capability level: "plain", "timescale", or "none" before the first migration.
    level: str
    #: Migrations that are not applied.
    pending: int
    #: Settings of DURABLE that are off.
    unsafe: dict[str, str]
    read_only: bool
    #: The server's clock, seconds since 1970.
    now: float
    #: Gaps in gateways' numbers that are open.
    gaps: int
    #: Refusals that wait for a person.
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    version: int
    now: float
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    gaps: int
    quarantined: int


def ping(connection: Connection) -> None:
    """Have the database answer.

    Raises: Unavailable where it does not.
    """
    connection.execute("SELECT 1")


def examine(connection: Connection) -> DatabaseHealth:
    """Ask the database for all of it."""
    with connection.cursor(row_factory=class_row(_Server)) as cursor:
        server = cursor.execute(_SERVER).fetchone()
    with connection.cursor(row_factory=scalar_row) as cursor:
        unsafe = cursor.execute(_SETTINGS_OFF, [list(DURABLE)]).fetchall()
    assert server is not None
    pending = len(list_pending(connection))
    level = level_of(connection)
    waiting = _Waiting(gaps=0, quarantined=0)
    if not pending:
        waiting = _count_waiting(connection)
    return DatabaseHealth(
        version=server.version,
        level=str(level) if level else "none",
        pending=pending,
        unsafe=dict.fromkeys(unsafe, "off"),
        read_only=server.read_only,
        now=server.now,
        gaps=waiting.gaps,
        quarantined=waiting.quarantined,
    )


_SERVER = """
    SELECT
        current_setting('server_version_num')::integer AS version,
        extract(epoch FROM clock_timestamp())::float8 AS now,
        pg_is_in_recovery()
            OR current_setting('default_transaction_read_only') = 'on' AS read_only
"""

_SETTINGS_OFF = """
    SELECT name
    FROM pg_settings
    WHERE name = ANY(%s)
      AND setting = 'off'
"""


def _count_waiting(connection: Connection) -> _Waiting:
    with connection.cursor(row_factory=class_row(_Waiting)) as cursor:
        waiting = cursor.execute(_COUNT_WAITING).fetchone()
    assert waiting is not None
    return waiting


_COUNT_WAITING = """
    SELECT
        (SELECT count(*) FROM gaps) AS gaps,
        (SELECT count(*) FROM quarantine WHERE resolution IS NULL) AS quarantined
"""


def count_stored(connection: Connection) -> int:
    """Count the readings that have been stored, by the tallies."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(_COUNT_STORED).fetchone() or 0)


_COUNT_STORED = """
    SELECT coalesce(sum(stored), 0)::bigint
    FROM ingest_tallies
    WHERE kind = 'readings'
"""


def count_rows(connection: Connection) -> int:
    """Count the rows of readings."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("SELECT count(*) FROM readings").fetchone() or 0)


def analyze(connection: Connection) -> None:
    """Let the planner know what is in the tables."""
    connection.execute("ANALYZE")
    connection.commit()


def backend_pids(connection: Connection) -> list[int]:
    """List the server processes that serve this database, but our own."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(_BACKEND_PIDS).fetchall()


_BACKEND_PIDS = """
    SELECT pid
    FROM pg_stat_activity
    WHERE datname = current_database()
      AND pid <> pg_backend_pid()
"""
