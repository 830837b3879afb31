"""What the database says of itself: is it up to date, and does it keep what it has committed?"""

from __future__ import annotations

from dataclasses import dataclass

from store.database.connection import Connection
from store.database.migration import level_of, list_pending

#: Settings without which a commit that was acknowledged may not be there after the machine stops (PostgreSQL manual, 19.5).
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """What was found; `now` is the server's clock in seconds since 1970."""

    version: int
    level: str
    pending: int
    unsafe: dict[str, str]
    read_only: bool
    now: float
    gaps: int
    quarantined: int


def ping(connection: Connection) -> None:
    """Have the database answer; raises what the driver raises where it does not."""
    connection.execute("SELECT 1")


def examine(connection: Connection) -> DatabaseHealth:
    """Ask for all of it."""
    row = connection.execute(
        "SELECT current_setting('server_version_num')::integer AS version, extract(epoch FROM clock_timestamp())::float8 AS now, "
        "pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on' AS read_only"
    ).fetchone()
    assert row is not None
    settings = connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)]
    ).fetchall()
    pending, level = list_pending(connection), level_of(connection)
    gaps = waiting = 0
    if not pending:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM gaps) AS gaps, (SELECT count(*) FROM quarantine WHERE resolution IS NULL) AS waiting"
        ).fetchone()
        assert counts is not None
        gaps, waiting = counts["gaps"], counts["waiting"]
    return DatabaseHealth(
        version=row["version"],
        level=str(level) if level else "none",
        pending=len(pending),
        now=row["now"],
        read_only=row["read_only"],
        unsafe={one["name"]: one["setting"] for one in settings if one["setting"] == "off"},
        gaps=gaps,
        quarantined=waiting,
    )


def count_stored(connection: Connection) -> int:
    """Count the readings that have been stored, by the tallies."""
    row = connection.execute(
        "SELECT coalesce(sum(stored), 0)::bigint AS n FROM ingest_tallies WHERE kind = 'readings'"
    ).fetchone()
    return int(row["n"]) if row else 0


def count_rows(connection: Connection) -> int:
    """Count the rows of readings."""
    row = connection.execute("SELECT count(*) AS n FROM readings").fetchone()
    return int(row["n"]) if row else 0


def analyze(connection: Connection) -> None:
    """Let the planner know what is in the tables."""
    connection.execute("ANALYZE")
    connection.commit()


def backend_pids(connection: Connection) -> list[int]:
    """List the server processes that serve this database, but our own."""
    rows = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return [row["pid"] for row in rows]
