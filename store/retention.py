"""Retention: readings and events older than a limit are really gone, a whole partition or chunk at a time.

Nothing is deleted row by row, and nothing at all unless a site has set a limit: what a law asks to be kept or dropped is
the site's to say. Facts, findings and alerts are evidence and are not touched here.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from store.connect import Connection
from store.migrate import Level, level_of

SERIES = ("readings", "events")


def drop_before(connection: Connection, series: str, cutoff: datetime) -> list[str]:
    """Drop the partitions (or chunks) of a series that lie wholly before an instant; returns their names.

    Raises: ValueError for what is no series.
    """
    if series not in SERIES:
        raise ValueError(f"{series!r} is no series; use one of {', '.join(SERIES)}")
    with connection.transaction():
        if level_of(connection) is Level.TIMESCALE:
            gone = connection.execute("SELECT drop_chunks(%s::regclass, older_than => %s) AS name", [series, cutoff])
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
