"""Lists of alerts within a scope, folded where one detector has many at one estate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from domain.alerting import AlertClass, Severity
from store.alerts.alerts import SELECT_ALERTS, Alert
from store.database.connection import Connection

#: Classes that never fold: each life counts by itself, and leads are ranked one by one.
NEVER_FOLD = ("life_safety", "compliance")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Filter for lists of alerts; `estates` and `classes` are the reader's scope."""

    estates: tuple[int, ...]
    classes: frozenset[str]
    open_only: bool = True
    suppressed: bool | None = False
    """True for suppressed alerts only, False for shown ones only, None for both."""
    alert_class: str | None = None
    severity: str | None = None
    estate: str | None = None
    detector: str | None = None
    assignee: str | None = None
    unacknowledged: bool = False
    before_id: int | None = None
    """Only alerts with a lower id: the next page of a list, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFold:
    """Many alerts of one detector at one estate, shown as one row."""

    estate: str
    detector: str
    alert_class: AlertClass
    alerts: int
    unacknowledged: int
    severity: Severity
    """The highest of them."""
    since_at: datetime
    raised_at: datetime
    """When the newest of them was raised."""
    examples: Sequence[str]
    """The subjects of the newest three."""
    newest: int
    """The id of the newest."""


def list_alerts(
    connection: Connection, wanted: AlertFilter, *, limit: int = 50, fold_from: int | None = None
) -> list[Alert]:
    """List alerts, newest first; with `fold_from` without those that `list_folds` shows."""
    where, values = _where(wanted)
    folded = _list_folded(connection, wanted, fold_from) if fold_from else []
    values["limit"] = limit
    values["folded_estates"] = [estate_id for estate_id, _ in folded]
    values["folded_detectors"] = [detector for _, detector in folded]
    query = SELECT_ALERTS + sql.SQL("""
        WHERE {where}
          AND NOT EXISTS (
              SELECT
              FROM unnest(%(folded_estates)s::integer[], %(folded_detectors)s::text[])
                  AS f (estate_id, detector)
              WHERE f.estate_id = a.estate_id
                AND f.detector = a.detector
          )
        ORDER BY a.id DESC
        LIMIT %(limit)s
    """).format(where=where)
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(query, values).fetchall()


def list_folds(
    connection: Connection, wanted: AlertFilter, fold_from: int, *, limit: int = 100
) -> list[AlertFold]:
    """List where a detector has at least `fold_from` alerts at one estate, one row each."""
    where, values = _where(replace(wanted, before_id=None))
    query = sql.SQL("""
        SELECT
            e.code AS estate,
            a.detector,
            min(a.alert_class) AS alert_class,
            count(*) AS alerts,
            count(*) FILTER (WHERE a.acknowledgement = 'unacknowledged') AS unacknowledged,
            (ARRAY['low', 'medium', 'high', 'critical'])[
                max(array_position(ARRAY['low', 'medium', 'high', 'critical'], a.severity))
            ] AS severity,
            min(a.since_at) AS since_at,
            max(a.raised_at) AS raised_at,
            (array_agg(a.subject ORDER BY a.id DESC))[1:3] AS examples,
            (array_agg(a.id ORDER BY a.id DESC))[1] AS newest
        FROM alerts a
        JOIN estates e ON e.id = a.estate_id
        WHERE {where}
          AND a.alert_class <> ALL(%(never_fold)s)
        GROUP BY e.code, a.detector
        HAVING count(*) >= %(fold_from)s
        ORDER BY max(a.raised_at) DESC
        LIMIT %(limit)s
    """).format(where=where)
    values |= {"limit": limit, "fold_from": fold_from, "never_fold": list(NEVER_FOLD)}
    with connection.cursor(row_factory=class_row(AlertFold)) as cursor:
        return cursor.execute(query, values).fetchall()


def list_leads(
    connection: Connection, estates: Collection[int], estate: str | None, limit: int
) -> list[Alert]:
    """List open compliance leads within a scope, the likeliest and longest first."""
    query = SELECT_ALERTS + sql.SQL("""
        WHERE a.estate_id = ANY(%(estates)s)
          AND a.alert_class = 'compliance'
          AND a.ended_at IS NULL
          AND a.suppression = 'none'
          AND (%(estate)s::text IS NULL OR e.code = %(estate)s)
        ORDER BY a.score DESC, a.since_at, a.id
        LIMIT %(limit)s
    """)
    values = {"estates": list(estates), "estate": estate, "limit": limit}
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(query, values).fetchall()


def narrow_to(wanted: AlertFilter, estates: Collection[int]) -> AlertFilter:
    """Narrow a filter to some of its estates."""
    return replace(wanted, estates=tuple(set(wanted.estates) & set(estates)))


_CLAUSES = {
    "open_only": sql.SQL("a.ended_at IS NULL"),
    "alert_class": sql.SQL("a.alert_class = %(alert_class)s"),
    "severity": sql.SQL("a.severity = %(severity)s"),
    "estate": sql.SQL("e.code = %(estate)s"),
    "detector": sql.SQL("a.detector = %(detector)s"),
    "assignee": sql.SQL("a.assignee = %(assignee)s"),
    "unacknowledged": sql.SQL("a.acknowledgement = 'unacknowledged'"),
    "before_id": sql.SQL("a.id < %(before_id)s"),
}


def _where(wanted: AlertFilter) -> tuple[sql.Composed, dict[str, Any]]:
    """Write a filter as the conditions of a query and their values."""
    clauses = [
        sql.SQL("a.estate_id = ANY(%(estates)s)"),
        sql.SQL("a.alert_class = ANY(%(classes)s)"),
    ]
    clauses += [clause for name, clause in _CLAUSES.items() if getattr(wanted, name)]
    if wanted.suppressed is not None:
        clauses.append(sql.SQL("(a.suppression <> 'none') = %(suppressed)s"))
    values = {name: getattr(wanted, name) for name in AlertFilter.__slots__}
    values["estates"] = list(wanted.estates)
    values["classes"] = sorted(wanted.classes)
    return sql.SQL(" AND ").join(clauses), values


def _list_folded(
    connection: Connection, wanted: AlertFilter, fold_from: int
) -> list[tuple[int, str]]:
    """List the pairs of estate and detector that `list_folds` shows as one row."""
    where, values = _where(replace(wanted, before_id=None))
    query = sql.SQL("""
        SELECT a.estate_id, a.detector
        FROM alerts a
        JOIN estates e ON e.id = a.estate_id
        WHERE {where}
          AND a.alert_class <> ALL(%(never_fold)s)
        GROUP BY a.estate_id, a.detector
        HAVING count(*) >= %(fold_from)s
    """).format(where=where)
    values |= {"fold_from": fold_from, "never_fold": list(NEVER_FOLD)}
    return [(row["estate_id"], row["detector"]) for row in connection.execute(query, values)]
