"""Alerts as they are read: lists and folds within a scope, and the changes that the live stream carries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from store.database.connection import Connection

#: Classes that never fold: a life is never a count, and leads are ranked one by one.
NEVER_FOLD = ("life_safety", "compliance")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFilter:
    """Which alerts to list; `estates` and `classes` are the reader's reach, the rest narrows it."""

    estates: tuple[int, ...]
    classes: frozenset[str]
    open_only: bool = True
    suppressed: bool | None = False
    alert_class: str | None = None
    severity: str | None = None
    estate: str | None = None
    detector: str | None = None
    assignee: str | None = None
    unacknowledged: bool = False
    before_id: int | None = None


_FILTERS = {
    "open_only": "a.ended_at IS NULL",
    "alert_class": "a.alert_class = %(alert_class)s",
    "severity": "a.severity = %(severity)s",
    "estate": "e.code = %(estate)s",
    "detector": "a.detector = %(detector)s",
    "assignee": "a.assignee = %(assignee)s",
    "unacknowledged": "a.acknowledgement = 'unacknowledged'",
    "before_id": "a.id < %(before_id)s",
}


def _where(wanted: AlertFilter) -> tuple[sql.Composed, dict[str, Any]]:
    clauses = ["a.estate_id = ANY(%(estates)s) AND a.alert_class = ANY(%(classes)s)"]
    clauses += [clause for name, clause in _FILTERS.items() if getattr(wanted, name)]
    if wanted.suppressed is not None:
        clauses.append("(a.suppression <> 'none') = %(suppressed)s")
    values = {name: getattr(wanted, name) for name in AlertFilter.__slots__}
    values |= {"estates": list(wanted.estates), "classes": sorted(wanted.classes)}
    return sql.SQL(" AND ").join([sql.SQL(clause) for clause in clauses]), values


def list_alerts(
    connection: Connection, wanted: AlertFilter, *, limit: int = 50, fold_from: int | None = None
) -> list[dict[str, Any]]:
    """List alerts, newest first, paged by id; with `fold_from` without those that `list_folds` shows as one row."""
    where, values = _where(wanted)
    folded = _folded(connection, wanted, fold_from) if fold_from else []
    query = sql.SQL(
        "SELECT a.*, e.code AS estate, e.timezone FROM alerts a JOIN estates e ON e.id = a.estate_id WHERE {} "
        "AND NOT EXISTS (SELECT FROM unnest(%(folded_at)s::integer[], %(folded_of)s::text[]) AS f (at, of) "
        "WHERE f.at = a.estate_id AND f.of = a.detector) ORDER BY a.id DESC LIMIT %(limit)s"
    ).format(where)
    values |= {
        "limit": limit,
        "folded_at": [f[0] for f in folded],
        "folded_of": [f[1] for f in folded],
    }
    return connection.execute(query, values).fetchall()


def _folded(connection: Connection, wanted: AlertFilter, fold_from: int) -> list[tuple[int, str]]:
    """List the estates and detectors that `list_folds` shows as one row."""
    where, values = _where(_unpaged(wanted))
    query = sql.SQL(
        "SELECT a.estate_id, a.detector FROM alerts a JOIN estates e ON e.id = a.estate_id WHERE {} "
        "AND a.alert_class <> ALL(%(never)s) GROUP BY 1, 2 HAVING count(*) >= %(fold)s"
    ).format(where)
    rows = connection.execute(query, {**values, "fold": fold_from, "never": list(NEVER_FOLD)})
    return [(row["estate_id"], row["detector"]) for row in rows]


def list_folds(
    connection: Connection, wanted: AlertFilter, fold_from: int, *, limit: int = 100
) -> list[dict[str, Any]]:
    """List where a detector stands at `fold_from` subjects of an estate or more: one row each, with how many and how bad."""
    where, values = _where(_unpaged(wanted))
    query = sql.SQL(
        "SELECT e.code AS estate, a.detector, min(a.alert_class) AS alert_class, count(*) AS alerts, "
        "count(*) FILTER (WHERE a.acknowledgement = 'unacknowledged') AS unacknowledged, "
        "(ARRAY['low', 'medium', 'high', 'critical'])[max(array_position(ARRAY['low', 'medium', 'high', 'critical'], a.severity))] "
        "AS severity, min(a.since_at) AS since_at, max(a.raised_at) AS raised_at, (array_agg(a.subject ORDER BY a.id DESC))[1:3] AS examples, "
        "(array_agg(a.id ORDER BY a.id DESC))[1] AS newest FROM alerts a JOIN estates e ON e.id = a.estate_id "
        "WHERE {} AND a.alert_class <> ALL(%(never)s) GROUP BY e.code, a.detector HAVING count(*) >= %(fold)s "
        "ORDER BY max(a.raised_at) DESC LIMIT %(limit)s"
    ).format(where)
    return connection.execute(
        query, {**values, "limit": limit, "fold": fold_from, "never": list(NEVER_FOLD)}
    ).fetchall()


def within(wanted: AlertFilter, estates: tuple[int, ...]) -> AlertFilter:
    """Narrow what is wanted to some of its estates."""
    return replace(wanted, estates=tuple(set(wanted.estates) & set(estates)))


def _unpaged(wanted: AlertFilter) -> AlertFilter:
    return replace(wanted, before_id=None)


def list_leads(
    connection: Connection, estates: tuple[int, ...], estate: str | None, limit: int
) -> list[dict[str, Any]]:
    """List open compliance leads within a scope, the likeliest and longest first."""
    return connection.execute(
        "SELECT a.*, e.code AS estate, e.timezone FROM alerts a JOIN estates e ON e.id = a.estate_id "
        "WHERE a.estate_id = ANY(%s) AND a.alert_class = 'compliance' AND a.ended_at IS NULL AND a.suppression = 'none' "
        "AND (%s::text IS NULL OR e.code = %s) ORDER BY a.score DESC, a.since_at, a.id LIMIT %s",
        [list(estates), estate, estate, limit],
    ).fetchall()


def changes_after(
    connection: Connection,
    seq: int,
    estates: tuple[int, ...],
    classes: frozenset[str],
    limit: int = 200,
) -> list[dict[str, Any]]:
    """Read what changed after a sequence number within a scope, with the alert as it is now."""
    return connection.execute(
        "SELECT c.seq, c.step, c.actor, c.at AS changed_at, a.*, e.code AS estate, e.timezone FROM alert_changes c "
        "JOIN alerts a ON a.id = c.alert_id JOIN estates e ON e.id = a.estate_id "
        "WHERE c.seq > %s AND a.estate_id = ANY(%s) AND a.alert_class = ANY(%s) ORDER BY c.seq LIMIT %s",
        [seq, list(estates), sorted(classes), limit],
    ).fetchall()


def last_change(connection: Connection) -> int:
    """Return the newest sequence number."""
    row = connection.execute("SELECT coalesce(max(seq), 0) AS seq FROM alert_changes").fetchone()
    return int(row["seq"]) if row else 0


def cursor_secret(connection: Connection) -> bytes:
    """Return the secret under which places in the record of changes are told."""
    row = connection.execute("SELECT secret FROM site_secrets WHERE name = 'cursor'").fetchone()
    assert row is not None
    return bytes(row["secret"])


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLook:
    """What one look at the record of changes found, and which transactions were under way just before it."""

    rows: list[dict[str, Any]]
    oldest_xid: int
    next_xid: int


def look_at_changes(
    connection: Connection, after: int, holes: list[int], limit: int = 1_000
) -> AlertLook:
    """Read the changes after a sequence number, and those in `holes`: numbers are given out before their transactions commit."""
    snapshot = connection.execute(
        "SELECT pg_snapshot_xmin(s)::text::bigint AS oldest, pg_snapshot_xmax(s)::text::bigint AS next FROM pg_current_snapshot() AS s"
    ).fetchone()
    assert snapshot is not None
    rows = connection.execute(
        "SELECT c.seq, c.step, c.actor, a.id, a.estate_id, a.alert_class, a.severity, a.detector, a.suppression, a.drill, a.raised_at, "
        "a.ended_at FROM alert_changes c JOIN alerts a ON a.id = c.alert_id WHERE c.seq > %s OR c.seq = ANY(%s) ORDER BY c.seq LIMIT %s",
        [after, holes, limit],
    ).fetchall()
    return AlertLook(rows=rows, oldest_xid=snapshot["oldest"], next_xid=snapshot["next"])
