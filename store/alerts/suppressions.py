"""What suppresses alerts: shelves and out-of-service by key, and announced windows by estate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from domain.alerting import AlertClass, AlertKey
from store.alerts.changes import AlertStep, note_change
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySuppression:
    """A shelf or an out-of-service in force, with the newest alert of its key."""

    id: int
    kind: str
    reason: str
    until_at: datetime | None
    made_at: datetime
    made_by: str
    detector: str
    subject: str
    alert_class: AlertClass
    estate: str
    alert: int
    """The id of the newest alert of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmWindow:
    """Announced maintenance or a drill: of an estate, or of one gateway or device of it."""

    id: int
    estate: str
    gateway: str | None
    device: str | None
    kind: str
    from_at: datetime
    to_at: datetime
    reason: str
    made_by: str
    made_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlarmWindow:
    """A window that is to be announced; `kind` is "maintenance" or "drill"."""

    estate_id: int
    kind: str
    from_at: datetime
    to_at: datetime
    reason: str
    gateway: str | None = None
    device: str | None = None


def suppress_key(
    connection: Connection,
    key: AlertKey,
    kind: str,
    reason: str,
    until_at: datetime | None,
    *,
    actor: str,
) -> None:
    """Shelve a key or take it out of service; the next alert of the key is suppressed as well.

    What suppressed the key before ends.
    """
    release_key(connection, key, actor=actor)
    connection.execute(
        """
        INSERT INTO suppressions (
            detector, subject_kind, subject_id, dedup_key, kind, reason, until_at, made_by
        )
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            key.detector,
            key.subject_kind,
            key.subject_id,
            key.dedup_key,
            kind,
            reason,
            until_at,
            actor,
        ],
    )


def release_key(connection: Connection, key: AlertKey, *, actor: str) -> None:
    """End what suppresses a key."""
    connection.execute(
        """
        UPDATE suppressions
        SET ended_at = anju_now(), ended_by = %s
        WHERE detector = %s
          AND subject_kind = %s
          AND subject_id = %s
          AND dedup_key = %s
          AND ended_at IS NULL
        """,
        [actor, key.detector, key.subject_kind, key.subject_id, key.dedup_key],
    )


def expire(connection: Connection, now: datetime, *, actor: str) -> int:
    """Show alerts again whose shelf or maintenance window is over; returns how many."""
    shown_again = [*_expire_shelves(connection, now, actor), *_expire_windows(connection, now)]
    for alert_id in shown_again:
        note_change(connection, alert_id, AlertStep(actor=actor, name="shown_again"))
    return len(shown_again)


def _expire_shelves(connection: Connection, now: datetime, actor: str) -> list[int]:
    rows = connection.execute(
        """
        WITH expired AS (
            UPDATE suppressions
            SET ended_at = %(now)s, ended_by = %(actor)s
            WHERE ended_at IS NULL
              AND until_at <= %(now)s
            RETURNING detector, subject_kind, subject_id, dedup_key
        )
        UPDATE alerts
        SET suppression = 'none', suppressed_because = NULL, version = version + 1
        FROM expired
        WHERE alerts.ended_at IS NULL
          AND alerts.suppression = 'shelved'
          AND alerts.detector = expired.detector
          AND alerts.subject_kind = expired.subject_kind
          AND alerts.subject_id = expired.subject_id
          AND alerts.dedup_key = expired.dedup_key
        RETURNING id
        """,
        {"now": now, "actor": actor},
    )
    return [row["id"] for row in rows]


def _expire_windows(connection: Connection, now: datetime) -> list[int]:
    rows = connection.execute(
        """
        UPDATE alerts
        SET suppression = 'none', suppressed_because = NULL, version = version + 1
        WHERE ended_at IS NULL
          AND suppression = 'by_design'
          AND NOT EXISTS (
              SELECT
              FROM alarm_windows w
              WHERE w.estate_id = alerts.estate_id
                AND w.kind = 'maintenance'
                AND w.ended_at IS NULL
                AND w.from_at <= %(now)s
                AND w.to_at > %(now)s
          )
        RETURNING id
        """,
        {"now": now},
    )
    return [row["id"] for row in rows]


def list_suppressions(
    connection: Connection, estates: Collection[int], classes: Collection[str]
) -> list[KeySuppression]:
    """List what is suppressed now, of keys whose newest alert is within a scope."""
    query = """
        SELECT
            s.id, s.kind, s.reason, s.until_at, s.made_at, s.made_by, s.detector,
            a.subject, a.alert_class, e.code AS estate, a.id AS alert
        FROM suppressions s
        JOIN LATERAL (
            SELECT *
            FROM alerts a
            WHERE a.detector = s.detector
              AND a.subject_kind = s.subject_kind
              AND a.subject_id = s.subject_id
              AND a.dedup_key = s.dedup_key
            ORDER BY a.id DESC
            LIMIT 1
        ) a ON true
        JOIN estates e ON e.id = a.estate_id
        WHERE s.ended_at IS NULL
          AND a.estate_id = ANY(%s)
          AND a.alert_class = ANY(%s)
        ORDER BY s.made_at DESC
    """
    with connection.cursor(row_factory=class_row(KeySuppression)) as cursor:
        return cursor.execute(query, [list(estates), sorted(classes)]).fetchall()


# Windows ------------------------------------------------------------------------------------------


def add_window(connection: Connection, new: NewAlarmWindow, *, actor: str) -> int | None:
    """Announce a window and return its id; None where the estate has no such gateway or device."""
    row = connection.execute(
        """
        INSERT INTO alarm_windows (
            estate_id, gateway_id, device_id, kind, from_at, to_at, reason, made_by
        )
        SELECT
            e.id, g.id, d.id, %(kind)s, %(from_at)s, %(to_at)s, %(reason)s, %(actor)s
        FROM estates e
        LEFT JOIN gateways g ON g.estate_id = e.id AND g.code = %(gateway)s
        LEFT JOIN devices d ON d.estate_id = e.id AND d.code = %(device)s
        WHERE e.id = %(estate_id)s
          AND (%(gateway)s::text IS NULL OR g.id IS NOT NULL)
          AND (%(device)s::text IS NULL OR d.id IS NOT NULL)
        RETURNING id
        """,
        {
            "estate_id": new.estate_id,
            "kind": new.kind,
            "from_at": new.from_at,
            "to_at": new.to_at,
            "reason": new.reason,
            "gateway": new.gateway,
            "device": new.device,
            "actor": actor,
        },
    ).fetchone()
    return int(row["id"]) if row else None


def end_window(
    connection: Connection, window_id: int, estates: Collection[int], *, actor: str
) -> bool:
    """End a window before its time; False where none is in force within the estates."""
    ended = connection.execute(
        """
        UPDATE alarm_windows
        SET ended_at = anju_now(), ended_by = %s
        WHERE id = %s
          AND estate_id = ANY(%s)
          AND ended_at IS NULL
        """,
        [actor, window_id, list(estates)],
    )
    return ended.rowcount == 1


def list_windows(connection: Connection, estates: Collection[int]) -> list[AlarmWindow]:
    """List the windows that are not over, the next first."""
    query = """
        SELECT
            w.id, e.code AS estate, g.code AS gateway, d.code AS device, w.kind,
            w.from_at, w.to_at, w.reason, w.made_by, w.made_at
        FROM alarm_windows w
        JOIN estates e ON e.id = w.estate_id
        LEFT JOIN gateways g ON g.id = w.gateway_id
        LEFT JOIN devices d ON d.id = w.device_id
        WHERE w.estate_id = ANY(%s)
          AND w.ended_at IS NULL
          AND w.to_at > anju_now()
        ORDER BY w.from_at, w.id
    """
    with connection.cursor(row_factory=class_row(AlarmWindow)) as cursor:
        return cursor.execute(query, [list(estates)]).fetchall()
