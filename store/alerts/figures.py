"""How alarms are managed, in figures (ISA-18.2 clause 16, EEMUA 191).

They are the rate, floods, chattering, stale and most frequent alarms, and the time to acknowledge.
Leads do not count: they are ranked and visited, and are no alarms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureScope:
    """Which alarms the figures are about: estates, classes and a span of time."""

    estates: Collection[int]
    classes: Collection[str]
    since: datetime
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureLimits:
    """What counts as a flood, as chattering and as stale."""

    flood_per_10_min: int
    chatter_count: int
    chatter_s: float
    stale_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCounts:
    """How many alarms were raised, and how fast they were acknowledged."""

    raised: int
    held_back: int
    waiting: int
    """Shown, open and not acknowledged."""
    acknowledged_p50_s: float | None
    acknowledged_p95_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFlood:
    """Ten minutes in which a flood of alarms was raised."""

    at: datetime
    raised: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrequentAlarm:
    """An alarm that came often; `alert` is the newest one's id."""

    estate: str
    detector: str
    subject: str
    alert: int
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleAlarm:
    """An alarm that has stood for too long."""

    estate: str
    detector: str
    subject: str
    alert: int
    raised_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmFigures:
    """The figures of a scope; the lists of alarms hold ten at most."""

    counts: AlarmCounts
    floods: Sequence[AlarmFlood]
    """The newest first."""
    severities: Mapping[str, int]
    """How many were raised, by severity."""
    chattering: Sequence[FrequentAlarm]
    stale: Sequence[StaleAlarm]
    worst: Sequence[FrequentAlarm]
    """Those that came most often."""


def read_figures(connection: Connection, scope: FigureScope, limits: FigureLimits) -> AlarmFigures:
    """Read the figures of a scope, without its leads and drills."""
    values = {
        "estates": list(scope.estates),
        "classes": sorted(set(scope.classes) - {"compliance"}),
        "since": scope.since,
        "now": scope.now,
        "flood": limits.flood_per_10_min,
        "rows_back": limits.chatter_count - 1,
        "chatter_s": limits.chatter_s,
        "stale_h": limits.stale_h,
    }
    with connection.cursor(row_factory=class_row(AlarmCounts)) as cursor:
        counts = cursor.execute(_COUNTS, values).fetchone()
    assert counts is not None
    with connection.cursor(row_factory=class_row(AlarmFlood)) as cursor:
        floods = cursor.execute(_FLOODS, values).fetchall()
    with connection.cursor(row_factory=class_row(FrequentAlarm)) as cursor:
        chattering = cursor.execute(_CHATTERING, values).fetchall()
        worst = cursor.execute(_WORST, values).fetchall()
    with connection.cursor(row_factory=class_row(StaleAlarm)) as cursor:
        stale = cursor.execute(_STALE, values).fetchall()
    severities = connection.execute(_SEVERITIES, values)
    return AlarmFigures(
        counts=counts,
        floods=floods,
        severities={row["severity"]: row["raised"] for row in severities},
        chattering=chattering,
        stale=stale,
        worst=worst,
    )


def count_seats(connection: Connection, estates: Collection[int]) -> int:
    """Count the guards and managers who are logged in and see one of the estates; at least 1."""
    row = connection.execute("SELECT count_operators(%s) AS seats", [list(estates)]).fetchone()
    return max(1, row["seats"] if row else 1)


_SCOPE = sql.SQL("""
    a.estate_id = ANY(%(estates)s)
    AND a.alert_class = ANY(%(classes)s)
    AND NOT a.drill
""")
_RAISED_IN_SPAN = sql.SQL("""
    raised_at >= %(since)s
    AND raised_at <= %(now)s
""")
_OCCURRED_IN_SPAN = sql.SQL("""
    o.state = 'on'
    AND o.at >= %(since)s
    AND o.at <= %(now)s
""")

_COUNTS = sql.SQL("""
    SELECT
        count(*) AS raised,
        count(*) FILTER (WHERE suppression <> 'none') AS held_back,
        count(*) FILTER (
            WHERE acknowledgement = 'unacknowledged'
              AND ended_at IS NULL
              AND suppression = 'none'
        ) AS waiting,
        percentile_cont(0.5) WITHIN GROUP (
            ORDER BY extract(epoch FROM acknowledged_at - raised_at)
        ) AS acknowledged_p50_s,
        percentile_cont(0.95) WITHIN GROUP (
            ORDER BY extract(epoch FROM acknowledged_at - raised_at)
        ) AS acknowledged_p95_s
    FROM alerts a
    WHERE {scope}
      AND {raised_in_span}
""").format(scope=_SCOPE, raised_in_span=_RAISED_IN_SPAN)

_FLOODS = sql.SQL("""
    SELECT at, raised
    FROM (
        SELECT date_bin('10 minutes', raised_at, %(since)s) AS at, count(*) AS raised
        FROM alerts a
        WHERE {scope}
          AND suppression = 'none'
          AND {raised_in_span}
        GROUP BY 1
    ) b
    WHERE raised >= %(flood)s
    ORDER BY at DESC
""").format(scope=_SCOPE, raised_in_span=_RAISED_IN_SPAN)

_SEVERITIES = sql.SQL("""
    SELECT severity, count(*) AS raised
    FROM alerts a
    WHERE {scope}
      AND {raised_in_span}
    GROUP BY severity
""").format(scope=_SCOPE, raised_in_span=_RAISED_IN_SPAN)

#: An alarm chatters where `chatter_count` occurrences lie within `chatter_s` seconds.
_CHATTERING = sql.SQL("""
    SELECT e.code AS estate, x.detector, x.subject, max(x.id) AS alert, count(*) AS times
    FROM (
        SELECT
            a.id, a.estate_id, a.detector, a.subject,
            o.at - lag(o.at, %(rows_back)s) OVER (
                PARTITION BY a.detector, a.subject_kind, a.subject_id
                ORDER BY o.at
            ) AS span
        FROM alert_occurrences o
        JOIN alerts a ON a.id = o.alert_id
        WHERE {scope}
          AND {occurred_in_span}
    ) x
    JOIN estates e ON e.id = x.estate_id
    WHERE x.span <= make_interval(secs => %(chatter_s)s)
    GROUP BY 1, 2, 3
    ORDER BY times DESC
    LIMIT 10
""").format(scope=_SCOPE, occurred_in_span=_OCCURRED_IN_SPAN)

_STALE = sql.SQL("""
    SELECT e.code AS estate, a.detector, a.subject, a.id AS alert, a.raised_at
    FROM alerts a
    JOIN estates e ON e.id = a.estate_id
    WHERE {scope}
      AND a.ended_at IS NULL
      AND a.suppression = 'none'
      AND a.raised_at < %(now)s - make_interval(secs => %(stale_h)s * 3600)
    ORDER BY a.raised_at
    LIMIT 10
""").format(scope=_SCOPE)

_WORST = sql.SQL("""
    SELECT e.code AS estate, a.detector, a.subject, max(a.id) AS alert, count(*) AS times
    FROM alert_occurrences o
    JOIN alerts a ON a.id = o.alert_id
    JOIN estates e ON e.id = a.estate_id
    WHERE {scope}
      AND {occurred_in_span}
    GROUP BY 1, 2, 3
    ORDER BY times DESC, 1, 2, 3
    LIMIT 10
""").format(scope=_SCOPE, occurred_in_span=_OCCURRED_IN_SPAN)
