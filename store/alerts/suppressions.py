"""What holds alerts back: shelves and out-of-service by key, and windows of announced work or drills by estate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from store.alerts.alerts import note_change
from store.database.connection import Connection


def hold(
    connection: Connection,
    alert: dict[str, Any],
    kind: str,
    reason: str,
    until_at: datetime | None,
    *,
    actor: str,
) -> None:
    """Note on an alert's key that it is shelved or out of service; the next alert of that key is held back as well."""
    release(connection, alert, actor=actor)
    connection.execute(
        "INSERT INTO suppressions (detector, subject_kind, subject_id, dedup_key, kind, reason, until_at, made_by) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            alert["detector"],
            alert["subject_kind"],
            alert["subject_id"],
            alert["dedup_key"],
            kind,
            reason,
            until_at,
            actor,
        ],
    )


def release(connection: Connection, alert: dict[str, Any], *, actor: str) -> None:
    """End what holds an alert's key back."""
    connection.execute(
        "UPDATE suppressions SET ended_at = anju_now(), ended_by = %s WHERE detector = %s AND subject_kind = %s AND subject_id = %s "
        "AND dedup_key = %s AND ended_at IS NULL",
        [actor, alert["detector"], alert["subject_kind"], alert["subject_id"], alert["dedup_key"]],
    )


def expire(connection: Connection, now: datetime, *, actor: str) -> int:
    """Show again what was shelved until now, and what stood in a window that is over; returns how many."""
    rows = connection.execute(
        "WITH over AS (UPDATE suppressions SET ended_at = %(now)s, ended_by = %(actor)s WHERE ended_at IS NULL AND until_at <= %(now)s "
        "RETURNING detector, subject_kind, subject_id, dedup_key) UPDATE alerts SET suppression = 'none', suppressed_because = NULL, "
        "version = version + 1 FROM over o WHERE alerts.ended_at IS NULL AND alerts.suppression = 'shelved' AND (alerts.detector, "
        "alerts.subject_kind, alerts.subject_id, alerts.dedup_key) = (o.detector, o.subject_kind, o.subject_id, o.dedup_key) RETURNING id",
        {"now": now, "actor": actor},
    ).fetchall()
    rows += connection.execute(
        "UPDATE alerts SET suppression = 'none', suppressed_because = NULL, version = version + 1 "
        "WHERE ended_at IS NULL AND suppression = 'by_design' AND NOT EXISTS (SELECT FROM alarm_windows w "
        "WHERE w.estate_id = alerts.estate_id AND w.kind = 'maintenance' AND w.ended_at IS NULL AND w.from_at <= %s AND w.to_at > %s) "
        "RETURNING id",
        [now, now],
    ).fetchall()
    for row in rows:
        note_change(connection, row["id"], actor, "shown_again")
    return len(rows)


def list_held(
    connection: Connection, estates: tuple[int, ...], classes: frozenset[str]
) -> list[dict[str, Any]]:
    """List the shelves and out-of-services in force on keys of which an alert within reach is known."""
    return connection.execute(
        "SELECT s.id, s.kind, s.reason, s.until_at, s.made_at, s.made_by, s.detector, a.subject, a.alert_class, e.code AS estate, "
        "a.id AS alert FROM suppressions s JOIN LATERAL (SELECT * FROM alerts a WHERE (a.detector, a.subject_kind, a.subject_id, a.dedup_key) "
        "= (s.detector, s.subject_kind, s.subject_id, s.dedup_key) ORDER BY a.id DESC LIMIT 1) a ON true JOIN estates e ON e.id = a.estate_id "
        "WHERE s.ended_at IS NULL AND a.estate_id = ANY(%s) AND a.alert_class = ANY(%s) ORDER BY s.made_at DESC",
        [list(estates), sorted(classes)],
    ).fetchall()


# Windows -------------------------------------------------------------------------------------------------------------


def add_window(
    connection: Connection,
    *,
    estate_id: int,
    kind: str,
    from_at: datetime,
    to_at: datetime,
    reason: str,
    actor: str,
    gateway: str | None = None,
    device: str | None = None,
) -> int | None:
    """Announce work or a drill at an estate, or at one gateway or device of it; None where that is not known there."""
    row = connection.execute(
        "INSERT INTO alarm_windows (estate_id, gateway_id, device_id, kind, from_at, to_at, reason, made_by) "
        "SELECT e.id, g.id, d.id, %(kind)s, %(from)s, %(to)s, %(reason)s, %(actor)s FROM estates e "
        "LEFT JOIN gateways g ON g.estate_id = e.id AND g.code = %(gateway)s LEFT JOIN devices d ON d.estate_id = e.id AND d.code = %(device)s "
        "WHERE e.id = %(estate)s AND (%(gateway)s::text IS NULL OR g.id IS NOT NULL) AND (%(device)s::text IS NULL OR d.id IS NOT NULL) "
        "RETURNING id",
        {
            "estate": estate_id,
            "kind": kind,
            "from": from_at,
            "to": to_at,
            "reason": reason,
            "actor": actor,
            "gateway": gateway,
            "device": device,
        },
    ).fetchone()
    return int(row["id"]) if row else None


def end_window(
    connection: Connection, window_id: int, estates: tuple[int, ...], *, actor: str
) -> bool:
    """End a window before its time; False where there is none within reach."""
    done = connection.execute(
        "UPDATE alarm_windows SET ended_at = anju_now(), ended_by = %s WHERE id = %s AND estate_id = ANY(%s) AND ended_at IS NULL",
        [actor, window_id, list(estates)],
    )
    return done.rowcount == 1


def list_windows(connection: Connection, estates: tuple[int, ...]) -> list[dict[str, Any]]:
    """List windows that are not over, the next first."""
    return connection.execute(
        "SELECT w.id, e.code AS estate, g.code AS gateway, d.code AS device, w.kind, w.from_at, w.to_at, w.reason, w.made_by, w.made_at "
        "FROM alarm_windows w JOIN estates e ON e.id = w.estate_id LEFT JOIN gateways g ON g.id = w.gateway_id "
        "LEFT JOIN devices d ON d.id = w.device_id WHERE w.estate_id = ANY(%s) AND w.ended_at IS NULL AND w.to_at > anju_now() "
        "ORDER BY w.from_at, w.id",
        [list(estates)],
    ).fetchall()
