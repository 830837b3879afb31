"""How alarms are managed, in figures (ISA-18.2 clause 16, EEMUA 191): rate, flood, chattering, stale, the worst, time to acknowledge.

Leads are no alarms: they are ranked and visited, so they do not count here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql

from store.database.connection import Connection

_SCOPE = sql.SQL(
    "a.estate_id = ANY(%(estates)s) AND a.alert_class = ANY(%(classes)s) AND NOT a.drill"
)


def read_figures(
    connection: Connection,
    estates: tuple[int, ...],
    classes: frozenset[str],
    *,
    since: datetime,
    now: datetime,
    flood: int,
    chatter_count: int,
    chatter_s: float,
    stale_h: float,
) -> dict[str, Any]:
    """Read the figures between two instants within a scope; lists hold ten at most."""
    values = {
        "estates": list(estates),
        "classes": sorted(classes - {"compliance"}),
        "since": since,
        "now": now,
        "flood": flood,
        "back": chatter_count - 1,
        "chatter_s": chatter_s,
        "stale_h": stale_h,
    }

    def ask(query: LiteralString) -> list[dict[str, Any]]:
        return connection.execute(sql.SQL(query).format(scope=_SCOPE), values).fetchall()

    (head,) = ask(
        "SELECT count(*) AS raised, count(*) FILTER (WHERE suppression <> 'none') AS held_back, "
        "count(*) FILTER (WHERE acknowledgement = 'unacknowledged' AND ended_at IS NULL AND suppression = 'none') AS waiting, "
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - raised_at)) AS acknowledged_p50_s, "
        "percentile_cont(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - raised_at)) AS acknowledged_p95_s "
        "FROM alerts a WHERE {scope} AND raised_at >= %(since)s AND raised_at <= %(now)s"
    )
    floods = ask(
        "SELECT at, raised FROM (SELECT date_bin('10 minutes', raised_at, %(since)s) AS at, count(*) AS raised FROM alerts a "
        "WHERE {scope} AND suppression = 'none' AND raised_at >= %(since)s AND raised_at <= %(now)s GROUP BY 1) b "
        "WHERE raised >= %(flood)s ORDER BY at DESC"
    )
    severities = ask(
        "SELECT severity, count(*) AS raised FROM alerts a WHERE {scope} AND raised_at >= %(since)s AND raised_at <= %(now)s "
        "GROUP BY severity"
    )
    chattering = ask(
        "SELECT e.code AS estate, x.detector, x.subject, max(x.id) AS alert, count(*) AS times FROM (SELECT a.id, a.estate_id, a.detector, "
        "a.subject, o.at - lag(o.at, %(back)s) OVER (PARTITION BY a.detector, a.subject_kind, a.subject_id ORDER BY o.at) AS span "
        "FROM alert_occurrences o JOIN alerts a ON a.id = o.alert_id WHERE {scope} AND o.state = 'on' AND o.at >= %(since)s "
        "AND o.at <= %(now)s) x JOIN estates e ON e.id = x.estate_id WHERE x.span <= make_interval(secs => %(chatter_s)s) "
        "GROUP BY 1, 2, 3 ORDER BY times DESC LIMIT 10"
    )
    stale = ask(
        "SELECT e.code AS estate, a.detector, a.subject, a.id AS alert, a.raised_at FROM alerts a JOIN estates e ON e.id = a.estate_id "
        "WHERE {scope} AND a.ended_at IS NULL AND a.suppression = 'none' "
        "AND a.raised_at < %(now)s - make_interval(secs => %(stale_h)s * 3600) ORDER BY a.raised_at LIMIT 10"
    )
    worst = ask(
        "SELECT e.code AS estate, a.detector, a.subject, count(*) AS times, max(a.id) AS alert FROM alert_occurrences o "
        "JOIN alerts a ON a.id = o.alert_id JOIN estates e ON e.id = a.estate_id WHERE {scope} AND o.state = 'on' "
        "AND o.at >= %(since)s AND o.at <= %(now)s GROUP BY 1, 2, 3 ORDER BY times DESC, 1, 2, 3 LIMIT 10"
    )
    return {
        **head,
        "floods": floods,
        "severities": {row["severity"]: row["raised"] for row in severities},
        "chattering": chattering,
        "stale": stale,
        "worst": worst,
    }


def count_seats(connection: Connection, estates: tuple[int, ...]) -> int:
    """Count the guards and managers who are logged in and reach one of the estates; at least one seat is assumed."""
    row = connection.execute("SELECT count_operators(%s) AS n", [list(estates)]).fetchone()
    return max(1, row["n"] if row else 1)
