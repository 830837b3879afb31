"""Alerts: raised by upsert, so that a second one is a count; every change leaves a row that the live stream replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from domain.alerting import Acknowledgement, AlertClass, AlertState, Condition, Severity, Suppression
from store.connect import Connection


class Stale(Exception):
    """Someone else changed the alert first; nothing was written. Read it again and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Raise:
    """What policy wants shown."""

    estate_id: int
    detector: str
    subject_kind: str
    subject_id: int
    subject: str
    alert_class: AlertClass
    severity: Severity
    score: float
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    policy_version: str
    since_at: datetime
    until_at: datetime | None = None
    dedup_key: str = ""
    condition: Condition = Condition.ACTIVE


def raise_alert(connection: Connection, wanted: Raise, *, actor: str) -> tuple[int, bool]:
    """Open an alert, or count one more occurrence of the open one; returns its id and whether it is new."""
    row = connection.execute(
        "INSERT INTO alerts AS a (estate_id, detector, subject_kind, subject_id, subject, dedup_key, alert_class, severity, "
        "score, condition, reasons, evidence, policy_version, since_at, until_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (detector, subject_kind, subject_id, dedup_key) WHERE ended_at IS NULL DO UPDATE SET "
        "occurrences = a.occurrences + 1, last_seen_at = anju_now(), condition = excluded.condition, "
        "acknowledgement = CASE WHEN a.condition = 'returned' THEN 'unacknowledged' ELSE a.acknowledgement END, "
        "evidence = excluded.evidence, reasons = excluded.reasons, score = excluded.score, version = a.version + 1 "
        "RETURNING id, occurrences",
        _columns(wanted),
    ).fetchone()
    assert row is not None
    new = row["occurrences"] == 1
    note_change(connection, row["id"], actor, "raised" if new else "recurred")
    return row["id"], new


def record_ended(connection: Connection, wanted: Raise, *, actor: str) -> int:
    """Put an alert on record whose condition began and ended before anyone could be told (back-filled data)."""
    row = connection.execute(
        "INSERT INTO alerts (estate_id, detector, subject_kind, subject_id, subject, dedup_key, alert_class, severity, "
        "score, condition, reasons, evidence, policy_version, since_at, until_at, ended_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, anju_now()) RETURNING id",
        _columns(wanted),
    ).fetchone()
    assert row is not None
    note_change(connection, row["id"], actor, "recorded")
    return int(row["id"])


def _columns(wanted: Raise) -> list[Any]:
    return [
        wanted.estate_id, wanted.detector, wanted.subject_kind, wanted.subject_id, wanted.subject, wanted.dedup_key,
        wanted.alert_class, wanted.severity, wanted.score, wanted.condition, list(wanted.reasons), Jsonb(wanted.evidence),
        wanted.policy_version, wanted.since_at, wanted.until_at,
    ]  # fmt: skip


def reopen(connection: Connection, alert_id: int, *, actor: str) -> None:
    """Take up an ended alert again whose condition turns out never to have ended."""
    connection.execute("UPDATE alerts SET ended_at = NULL, version = version + 1 WHERE id = %s", [alert_id])
    note_change(connection, alert_id, actor, "reopened")


def note_occurrence(connection: Connection, alert_id: int, at: datetime, state: str, source: dict[str, Any]) -> None:
    """Keep one occurrence of an alert with what it came from."""
    connection.execute(
        "INSERT INTO alert_occurrences (alert_id, at, state, source) VALUES (%s, %s, %s, %s)",
        [alert_id, at, state, Jsonb(source)],
    )


def note_change(connection: Connection, alert_id: int, actor: str, step: str, note: str | None = None) -> None:
    """Keep who changed an alert and how."""
    connection.execute(
        "INSERT INTO alert_changes (alert_id, actor, step, note) VALUES (%s, %s, %s, %s)", [alert_id, actor, step, note]
    )


def find_open(
    connection: Connection, detector: str, subject_kind: str, subject_id: int, dedup_key: str = ""
) -> dict[str, Any] | None:
    """Read and lock the open alert of a key."""
    return connection.execute(
        "SELECT * FROM alerts WHERE detector = %s AND subject_kind = %s AND subject_id = %s AND dedup_key = %s "
        "AND ended_at IS NULL FOR UPDATE",
        [detector, subject_kind, subject_id, dedup_key],
    ).fetchone()


def of_units(connection: Connection, units: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Read and lock all alerts about units, ended ones too, by detector."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        "SELECT * FROM alerts WHERE subject_kind = 'unit' AND subject_id = ANY(%s) ORDER BY subject_id, since_at FOR UPDATE",
        [units],
    ):
        found.setdefault(row["detector"], []).append(row)
    return found


def state_of(row: dict[str, Any]) -> AlertState:
    """Read an alert's axes from its row."""
    return AlertState(
        alert_class=AlertClass(row["alert_class"]),
        condition=Condition(row["condition"]),
        acknowledgement=Acknowledgement(row["acknowledgement"]),
        suppression=Suppression(row["suppression"]),
        ended=row["ended_at"] is not None,
    )


def set_state(
    connection: Connection,
    alert_id: int,
    state: AlertState,
    *,
    actor: str,
    step: str,
    note: str | None = None,
    expected_version: int | None = None,
) -> int:
    """Move an alert on its axes and return its new version.

    Raises: Stale where `expected_version` is given and no longer the alert's.
    """
    row = connection.execute(
        "UPDATE alerts SET condition = %s, acknowledgement = %s, suppression = %s, version = version + 1, "
        "ended_at = CASE WHEN %s THEN coalesce(ended_at, anju_now()) END "
        "WHERE id = %s AND (%s::integer IS NULL OR version = %s) RETURNING version",
        [
            state.condition,
            state.acknowledgement,
            state.suppression,
            state.ended,
            alert_id,
            expected_version,
            expected_version,
        ],
    ).fetchone()
    if row is None:
        raise Stale(f"alert {alert_id} was changed by someone else")
    note_change(connection, alert_id, actor, step, note)
    return int(row["version"])


def refresh(connection: Connection, alert_id: int, wanted: Raise) -> bool:
    """Bring an alert's period, score and evidence up to date; True where that changed anything."""
    done = connection.execute(
        "UPDATE alerts SET since_at = %(since)s, until_at = %(until)s, score = %(score)s, reasons = %(reasons)s, "
        "evidence = %(evidence)s, severity = %(severity)s, policy_version = %(policy)s, condition = %(condition)s, "
        "last_seen_at = anju_now(), version = version + 1 WHERE id = %(id)s AND "
        "(since_at, until_at, severity, condition, reasons, evidence) IS DISTINCT FROM "
        "(%(since)s, %(until)s::timestamptz, %(severity)s, %(condition)s, %(reasons)s::text[], %(evidence)s)",
        {
            "since": wanted.since_at,
            "until": wanted.until_at,
            "score": wanted.score,
            "reasons": list(wanted.reasons),
            "evidence": Jsonb(wanted.evidence),
            "severity": wanted.severity,
            "policy": wanted.policy_version,
            "condition": wanted.condition,
            "id": alert_id,
        },
    )
    return done.rowcount == 1


def get_alert(
    connection: Connection, alert_id: int, estates: tuple[int, ...], classes: frozenset[str]
) -> dict[str, Any] | None:
    """Read one alert within a scope."""
    return connection.execute(
        "SELECT a.*, e.code AS estate, e.timezone FROM alerts a JOIN estates e ON e.id = a.estate_id "
        "WHERE a.id = %s AND a.estate_id = ANY(%s) AND a.alert_class = ANY(%s)",
        [alert_id, list(estates), sorted(classes)],
    ).fetchone()


def list_alerts(
    connection: Connection,
    estates: tuple[int, ...],
    classes: frozenset[str],
    *,
    open_only: bool = True,
    alert_class: str | None = None,
    estate: str | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """List alerts within a scope, newest first, paged by id."""
    clauses = [sql.SQL("a.estate_id = ANY(%(estates)s) AND a.alert_class = ANY(%(classes)s)")]
    if open_only:
        clauses.append(sql.SQL("a.ended_at IS NULL"))
    if alert_class:
        clauses.append(sql.SQL("a.alert_class = %(class)s"))
    if estate:
        clauses.append(sql.SQL("e.code = %(estate)s"))
    if before_id:
        clauses.append(sql.SQL("a.id < %(before)s"))
    query = sql.SQL(
        "SELECT a.*, e.code AS estate, e.timezone FROM alerts a JOIN estates e ON e.id = a.estate_id WHERE {} "
        "ORDER BY a.id DESC LIMIT %(limit)s"
    ).format(sql.SQL(" AND ").join(clauses))
    return connection.execute(
        query,
        {
            "estates": list(estates),
            "classes": sorted(classes),
            "class": alert_class,
            "estate": estate,
            "before": before_id,
            "limit": limit,
        },
    ).fetchall()


def list_leads(
    connection: Connection, estates: tuple[int, ...], estate: str | None, limit: int
) -> list[dict[str, Any]]:
    """List open compliance leads within a scope, the likeliest and longest first."""
    return connection.execute(
        "SELECT a.*, e.code AS estate, e.timezone FROM alerts a JOIN estates e ON e.id = a.estate_id "
        "WHERE a.estate_id = ANY(%s) AND a.alert_class = 'compliance' AND a.ended_at IS NULL "
        "AND (%s::text IS NULL OR e.code = %s) ORDER BY a.score DESC, a.since_at, a.id LIMIT %s",
        [list(estates), estate, estate, limit],
    ).fetchall()


def changes_after(
    connection: Connection, seq: int, estates: tuple[int, ...], classes: frozenset[str], limit: int = 200
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


def history(connection: Connection, alert_id: int) -> list[dict[str, Any]]:
    """Read who changed an alert, oldest first."""
    return connection.execute(
        "SELECT seq, at, actor, step, note FROM alert_changes WHERE alert_id = %s ORDER BY seq", [alert_id]
    ).fetchall()
