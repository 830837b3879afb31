"""Timers of on-delays and off-delays (ISA-18.2): conditions that must last to count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from domain.alerting import AlertClass, AlertCondition, AlertKey, Severity, SubjectKind
from store.alerts.raising import NewAlert
from store.database.connection import Connection


class DelayKind(StrEnum):
    """Which change a timer delays."""

    ON_DELAY = "on"
    """An active condition that is no alert yet."""
    OFF_DELAY = "off"
    """A condition that has returned to normal, whose alert still stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayTimer:
    """A change that takes place at `due_at` unless the condition changes before."""

    key: AlertKey
    kind: DelayKind
    at: datetime
    """When the condition changed."""
    due_at: datetime
    source: Mapping[str, Any]
    """What reported the change."""
    alert: NewAlert | None = None
    """The alert that an on-delay raises."""


def find_timers(connection: Connection, keys: Collection[AlertKey]) -> dict[AlertKey, DelayTimer]:
    """Read and lock the timers of keys."""
    rows = connection.execute(
        """
        SELECT t.*
        FROM watch_timers t
        JOIN unnest(%(detectors)s::text[], %(subject_kinds)s::text[], %(subject_ids)s::integer[])
            AS k (detector, subject_kind, subject_id)
            USING (detector, subject_kind, subject_id)
        FOR UPDATE OF t
        """,
        _columns(keys),
    )
    return {timer.key: timer for timer in map(_read_timer, rows)}


def list_delayed_keys(connection: Connection, detectors: Sequence[str]) -> set[AlertKey]:
    """List the keys of detectors whose on-delay runs; nothing is locked."""
    rows = connection.execute(
        """
        SELECT detector, subject_kind, subject_id
        FROM watch_timers
        WHERE detector = ANY(%s)
          AND transition = 'on'
        """,
        [list(detectors)],
    )
    return {_read_key(row) for row in rows}


def set_timers(connection: Connection, timers: Sequence[DelayTimer]) -> None:
    """Set timers; each takes the place of its key's earlier one."""
    if not timers:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO watch_timers (
                detector, subject_kind, subject_id, transition, at, due_at, source
            )
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (detector, subject_kind, subject_id) DO UPDATE SET
                transition = excluded.transition,
                at = excluded.at,
                due_at = excluded.due_at,
                source = excluded.source
            """,
            [
                (
                    timer.key.detector,
                    timer.key.subject_kind,
                    timer.key.subject_id,
                    timer.kind,
                    timer.at,
                    timer.due_at,
                    Jsonb({"source": timer.source, "alert": _to_json(timer.alert)}),
                )
                for timer in timers
            ],
        )


def drop_timers(connection: Connection, keys: Collection[AlertKey]) -> None:
    """Drop the timers of keys."""
    if not keys:
        return
    connection.execute(
        """
        DELETE FROM watch_timers t
        USING unnest(%(detectors)s::text[], %(subject_kinds)s::text[], %(subject_ids)s::integer[])
            AS k (detector, subject_kind, subject_id)
        WHERE t.detector = k.detector
          AND t.subject_kind = k.subject_kind
          AND t.subject_id = k.subject_id
        """,
        _columns(keys),
    )


def take_due_timers(
    connection: Connection, now: datetime, behind_gateway: Sequence[str], limit: int = 500
) -> list[DelayTimer]:
    """Take the timers that are due, earliest first, inside the transaction that acts on them.

    On-delays of the detectors `behind_gateway` go on while the device's gateway is silent:
    the gateway's own alert stands for all its devices.
    """
    rows = connection.execute(
        """
        DELETE FROM watch_timers
        WHERE (detector, subject_kind, subject_id) IN (
            SELECT t.detector, t.subject_kind, t.subject_id
            FROM watch_timers t
            WHERE t.due_at <= %(now)s
              AND NOT (
                  t.detector = ANY(%(behind_gateway)s)
                  AND t.transition = 'on'
                  AND EXISTS (
                      SELECT
                      FROM devices d
                      JOIN gateway_state g ON g.gateway_id = d.gateway_id
                      WHERE d.id = t.subject_id
                        AND NOT g.online
                  )
              )
            ORDER BY t.due_at
            LIMIT %(limit)s
            FOR UPDATE OF t SKIP LOCKED
        )
        RETURNING *
        """,
        {"now": now, "behind_gateway": list(behind_gateway), "limit": limit},
    )
    return sorted(map(_read_timer, rows), key=lambda timer: timer.due_at)


def _columns(keys: Collection[AlertKey]) -> dict[str, list[Any]]:
    return {
        "detectors": [key.detector for key in keys],
        "subject_kinds": [key.subject_kind for key in keys],
        "subject_ids": [key.subject_id for key in keys],
    }


def _read_key(row: Mapping[str, Any]) -> AlertKey:
    return AlertKey(
        detector=row["detector"],
        subject_kind=SubjectKind(row["subject_kind"]),
        subject_id=row["subject_id"],
    )


def _read_timer(row: Mapping[str, Any]) -> DelayTimer:
    key = _read_key(row)
    return DelayTimer(
        key=key,
        kind=DelayKind(row["transition"]),
        at=row["at"],
        due_at=row["due_at"],
        source=row["source"]["source"],
        alert=_from_json(key, row["source"]["alert"]),
    )


def _to_json(alert: NewAlert | None) -> dict[str, Any] | None:
    """Write a delayed alert without its key, which the timer has."""
    if alert is None:
        return None
    values = asdict(alert)
    del values["key"]
    return {**values, "since_at": alert.since_at.isoformat(), "until_at": None}


def _from_json(key: AlertKey, values: Mapping[str, Any] | None) -> NewAlert | None:
    if values is None:
        return None
    typed = {
        "reasons": tuple(values["reasons"]),
        "since_at": datetime.fromisoformat(values["since_at"]),
        "alert_class": AlertClass(values["alert_class"]),
        "severity": Severity(values["severity"]),
        "condition": AlertCondition(values["condition"]),
    }
    return NewAlert(key=key, **{**values, **typed})
