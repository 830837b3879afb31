"""Changes of alerts: each leaves a row, from which people read the history and streams replay."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.alerting import AlertClass, AlertState, Severity, Suppression
from store.database.connection import Connection


class StaleVersion(Exception):
    """Someone else changed the alert first; nothing was written. Read it again and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertStep:
    """A step that somebody takes on an alert, as its record keeps it."""

    actor: str
    name: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChange:
    """One row of `alert_changes`: who changed an alert, when and how."""

    seq: int
    at: datetime
    actor: str
    step: str
    note: str | None


def set_state(
    connection: Connection,
    alert_id: int,
    state: AlertState,
    step: AlertStep,
    *,
    expected_version: int | None = None,
) -> int:
    """Move an alert on its axes and return its new version.

    Raises: StaleVersion where `expected_version` is given and no longer the alert's.
    """
    row = connection.execute(
        """
        UPDATE alerts
        SET condition = %(condition)s,
            acknowledgement = %(acknowledgement)s,
            suppression = %(suppression)s,
            version = version + 1,
            acknowledged_at = CASE
                WHEN %(acknowledgement)s <> 'unacknowledged'
                THEN coalesce(acknowledged_at, anju_now())
            END,
            acknowledged_by = CASE
                WHEN %(acknowledgement)s = 'unacknowledged' THEN NULL
                WHEN acknowledgement <> %(acknowledgement)s THEN %(actor)s
                ELSE acknowledged_by
            END,
            suppressed_because = CASE
                WHEN %(suppression)s = 'none' THEN NULL
                WHEN suppression <> %(suppression)s THEN %(note)s
                ELSE suppressed_because
            END,
            ended_at = CASE WHEN %(ended)s THEN coalesce(ended_at, anju_now()) END
        WHERE id = %(id)s
          AND (%(version)s::integer IS NULL OR version = %(version)s)
        RETURNING version
        """,
        {
            "condition": state.condition,
            "acknowledgement": state.acknowledgement,
            "suppression": state.suppression,
            "ended": state.ended,
            "id": alert_id,
            "version": expected_version,
            "actor": step.actor,
            "note": step.note,
        },
    ).fetchone()
    if row is None:
        raise StaleVersion(f"alert {alert_id} was changed by someone else")
    note_change(connection, alert_id, step)
    return int(row["version"])


def assign_alert(
    connection: Connection,
    alert_id: int,
    assignee: str | None,
    *,
    actor: str,
    expected_version: int,
) -> int:
    """Give an alert to a person, or to nobody, and return its new version.

    Raises: StaleVersion.
    """
    row = connection.execute(
        """
        UPDATE alerts
        SET assignee = %s, version = version + 1
        WHERE id = %s
          AND version = %s
        RETURNING version
        """,
        [assignee, alert_id, expected_version],
    ).fetchone()
    if row is None:
        raise StaleVersion(f"alert {alert_id} was changed by someone else")
    note_change(connection, alert_id, AlertStep(actor=actor, name="assigned", note=assignee))
    return int(row["version"])


def reopen_alert(connection: Connection, alert_id: int, *, actor: str) -> None:
    """Open an ended alert again whose condition turns out never to have ended."""
    connection.execute(
        """
        UPDATE alerts
        SET ended_at = NULL, version = version + 1
        WHERE id = %s
        """,
        [alert_id],
    )
    note_change(connection, alert_id, AlertStep(actor=actor, name="reopened"))


def note_change(connection: Connection, alert_id: int, step: AlertStep) -> None:
    """Put a step on an alert's record."""
    connection.execute(
        """
        INSERT INTO alert_changes (alert_id, actor, step, note)
        VALUES (%s, %s, %s, %s)
        """,
        [alert_id, step.actor, step.name, step.note],
    )


def note_occurrence(
    connection: Connection, alert_id: int, at: datetime, state: str, source: Mapping[str, Any]
) -> None:
    """Keep one occurrence of an alert, `state` "on" or "off", with what it came from."""
    connection.execute(
        """
        INSERT INTO alert_occurrences (alert_id, at, state, source)
        VALUES (%s, %s, %s, %s)
        """,
        [alert_id, at, state, Jsonb(source)],
    )


def list_changes(connection: Connection, alert_id: int) -> list[AlertChange]:
    """List the changes of an alert, oldest first."""
    query = """
        SELECT seq, at, actor, step, note
        FROM alert_changes
        WHERE alert_id = %s
        ORDER BY seq
    """
    with connection.cursor(row_factory=class_row(AlertChange)) as cursor:
        return cursor.execute(query, [alert_id]).fetchall()


# What the live stream carries ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertUpdate:
    """A change as the live stream carries it: the step, and its alert as it stands now."""

    seq: int
    step: str
    alert_id: int
    estate_id: int
    alert_class: AlertClass
    detector: str
    severity: Severity
    suppression: Suppression
    drill: bool
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLook:
    """The updates that one look found, and the transactions that ran just before it."""

    updates: Sequence[AlertUpdate]
    oldest_xid: int
    """The oldest transaction that was still running."""
    next_xid: int
    """The first transaction that had not begun."""


_SELECT_UPDATES = sql.SQL("""
    SELECT
        c.seq, c.step, a.id AS alert_id, a.estate_id, a.alert_class, a.detector, a.severity,
        a.suppression, a.drill, a.ended_at
    FROM alert_changes c
    JOIN alerts a ON a.id = c.alert_id
""")


def list_updates(
    connection: Connection,
    after: int,
    estates: Collection[int],
    classes: Collection[str],
    *,
    limit: int = 200,
) -> list[AlertUpdate]:
    """List the updates after a sequence number within a scope, in their order."""
    query = _SELECT_UPDATES + sql.SQL("""
        WHERE c.seq > %(after)s
          AND a.estate_id = ANY(%(estates)s)
          AND a.alert_class = ANY(%(classes)s)
        ORDER BY c.seq
        LIMIT %(limit)s
    """)
    values = {
        "after": after,
        "estates": list(estates),
        "classes": sorted(classes),
        "limit": limit,
    }
    with connection.cursor(row_factory=class_row(AlertUpdate)) as cursor:
        return cursor.execute(query, values).fetchall()


def look_at_updates(
    connection: Connection, after: int, gaps: Sequence[int], *, limit: int = 1_000
) -> AlertLook:
    """Read the updates after a sequence number, and those that have the numbers in `gaps`.

    A number is given out before its transaction commits, so a lower one may appear after a higher.
    """
    snapshot = connection.execute(
        """
        SELECT
            pg_snapshot_xmin(s)::text::bigint AS oldest,
            pg_snapshot_xmax(s)::text::bigint AS next
        FROM pg_current_snapshot() AS s
        """
    ).fetchone()
    assert snapshot is not None
    query = _SELECT_UPDATES + sql.SQL("""
        WHERE c.seq > %s
           OR c.seq = ANY(%s)
        ORDER BY c.seq
        LIMIT %s
    """)
    with connection.cursor(row_factory=class_row(AlertUpdate)) as cursor:
        updates = cursor.execute(query, [after, list(gaps), limit]).fetchall()
    return AlertLook(updates=updates, oldest_xid=snapshot["oldest"], next_xid=snapshot["next"])


def last_sequence_number(connection: Connection) -> int:
    """Return the sequence number of the newest change; 0 where there is none."""
    row = connection.execute("SELECT coalesce(max(seq), 0) AS seq FROM alert_changes").fetchone()
    assert row is not None
    return int(row["seq"])


def read_cursor_secret(connection: Connection) -> bytes:
    """Return the secret that enciphers places in the record of changes."""
    row = connection.execute("SELECT secret FROM site_secrets WHERE name = 'cursor'").fetchone()
    assert row is not None
    return bytes(row["secret"])
