"""Raising alerts: by upsert, so that the second one of a key is a count and never a duplicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.alerting import AlertClass, AlertCondition, AlertKey, Severity
from store.alerts.changes import AlertStep, note_change
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlert:
    """An alert that policy wants shown."""

    key: AlertKey
    estate_id: int
    subject: str
    """The subject's name, as people read it."""
    alert_class: AlertClass
    severity: Severity
    score: float
    """How likely it is true, from 0 to 1."""
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    policy_version: str
    since_at: datetime
    until_at: datetime | None = None
    condition: AlertCondition = AlertCondition.ACTIVE
    latched: bool = False
    review: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RaisedAlert:
    """The alert that stands for a key after it was raised."""

    id: int
    is_new: bool


def raise_alert(
    connection: Connection, new: NewAlert, *, actor: str, source: Mapping[str, Any] | None = None
) -> RaisedAlert:
    """Open an alert, or count one more occurrence of the open one; `source` is what it came from.

    An occurrence while the alert is active is counted only: no line on its record and no new
    version, or nobody could acknowledge an alert that chatters. After a return, or with a higher
    severity, the alert must be acknowledged anew. Shelves, out-of-service and maintenance windows
    apply at once.
    """
    values = {
        **_values(new),
        "actor": actor,
        "source": None if source is None else Jsonb(source),
    }
    with connection.cursor(row_factory=class_row(RaisedAlert)) as cursor:
        raised = cursor.execute(_RAISE, values).fetchone()
    assert raised is not None
    return raised


def record_ended_alert(connection: Connection, new: NewAlert, *, actor: str) -> int:
    """Record an alert whose condition began and ended before anyone could be notified.

    Such alerts come from back-filled data. Returns the alert's id.
    """
    row = connection.execute(_RECORD, _values(new)).fetchone()
    assert row is not None
    alert_id = int(row["id"])
    note_change(connection, alert_id, AlertStep(actor=actor, name="recorded"))
    return alert_id


def refresh_alert(connection: Connection, alert_id: int, new: NewAlert) -> bool:
    """Update an alert's period, score and evidence; returns whether that changed anything."""
    updated = connection.execute(_REFRESH, {**_values(new), "id": alert_id})
    return updated.rowcount == 1


def _values(new: NewAlert) -> dict[str, Any]:
    """Make the row of a new alert, by column."""
    return {
        "estate_id": new.estate_id,
        "detector": new.key.detector,
        "subject_kind": new.key.subject_kind,
        "subject_id": new.key.subject_id,
        "dedup_key": new.key.dedup_key,
        "subject": new.subject,
        "alert_class": new.alert_class,
        "severity": new.severity,
        "score": new.score,
        "condition": new.condition,
        "reasons": list(new.reasons),
        "evidence": Jsonb(new.evidence),
        "policy_version": new.policy_version,
        "since_at": new.since_at,
        "until_at": new.until_at,
        "latched": new.latched or new.alert_class is AlertClass.LIFE_SAFETY,
        "review": new.review,
    }


_COLUMNS = (
    "estate_id",
    "detector",
    "subject_kind",
    "subject_id",
    "subject",
    "dedup_key",
    "alert_class",
    "severity",
    "score",
    "condition",
    "reasons",
    "evidence",
    "policy_version",
    "since_at",
    "until_at",
    "latched",
    "review",
)
_COLUMN_NAMES = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
_PLACEHOLDERS = sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS))

_RECORD = sql.SQL("""
    INSERT INTO alerts ({columns}, ended_at)
    VALUES ({values}, anju_now())
    RETURNING id
""").format(columns=_COLUMN_NAMES, values=_PLACEHOLDERS)

_REFRESH = """
    UPDATE alerts
    SET since_at = %(since_at)s,
        until_at = %(until_at)s,
        score = %(score)s,
        reasons = %(reasons)s,
        evidence = %(evidence)s,
        severity = %(severity)s,
        policy_version = %(policy_version)s,
        condition = %(condition)s,
        last_seen_at = anju_now(),
        version = version + 1
    WHERE id = %(id)s
      AND (since_at, until_at, severity, condition, reasons, evidence)
          IS DISTINCT FROM (
              %(since_at)s, %(until_at)s::timestamptz, %(severity)s, %(condition)s,
              %(reasons)s::text[], %(evidence)s
          )
"""

_KEY = sql.SQL("""
    detector = %(detector)s
    AND subject_kind = %(subject_kind)s
    AND subject_id = %(subject_id)s
    AND dedup_key = %(dedup_key)s
""")


def _rank(severity: str) -> sql.Composed:
    """Write a severity as a number that rises with it."""
    return sql.SQL("array_position(ARRAY['low', 'medium', 'high', 'critical'], {})").format(
        sql.Identifier(*severity.split("."))
    )


def _is_worse(new: str, old: str) -> sql.Composed:
    """Compare the severities of two tables: is the first one higher?"""
    return sql.SQL("{} < {}").format(_rank(f"{old}.severity"), _rank(f"{new}.severity"))


#: One round trip for all of it: the alert, what suppresses it, its occurrence and its record.
_RAISE = sql.SQL("""
    WITH before AS (
        SELECT condition, severity
        FROM alerts
        WHERE {key}
          AND ended_at IS NULL
    ), held AS (
        SELECT kind, reason
        FROM suppressions
        WHERE {key}
          AND ended_at IS NULL
          AND (until_at IS NULL OR until_at > anju_now())
    ), work AS (
        SELECT
            coalesce(bool_or(kind = 'drill'), false) AS drill,
            max(reason) FILTER (WHERE kind = 'maintenance') AS reason
        FROM alarm_windows
        WHERE estate_id = %(estate_id)s
          AND ended_at IS NULL
          AND from_at <= anju_now()
          AND to_at > anju_now()
          AND (device_id IS NULL OR %(subject_kind)s = 'device' AND device_id = %(subject_id)s)
          AND (
              gateway_id IS NULL
              OR %(subject_kind)s = 'gateway' AND gateway_id = %(subject_id)s
              OR %(subject_kind)s = 'device'
                  AND gateway_id = (SELECT d.gateway_id FROM devices d WHERE d.id = %(subject_id)s)
          )
    ), raised AS (
        INSERT INTO alerts AS a ({columns}, drill, suppression, suppressed_because)
        SELECT
            {values},
            work.drill,
            CASE
                WHEN held.kind IS NOT NULL THEN held.kind
                WHEN work.reason IS NOT NULL AND %(alert_class)s <> 'life_safety' THEN 'by_design'
                ELSE 'none'
            END,
            coalesce(
                held.reason,
                CASE WHEN %(alert_class)s <> 'life_safety' THEN work.reason END
            )
        FROM work
        LEFT JOIN held ON true
        ON CONFLICT (detector, subject_kind, subject_id, dedup_key) WHERE ended_at IS NULL
        DO UPDATE SET
            occurrences = a.occurrences + 1,
            last_seen_at = anju_now(),
            condition = excluded.condition,
            evidence = excluded.evidence,
            reasons = excluded.reasons,
            score = excluded.score,
            severity = excluded.severity,
            version = a.version
                + CASE WHEN a.condition = 'returned' OR {is_worse} THEN 1 ELSE 0 END,
            acknowledgement = CASE
                WHEN a.condition = 'returned' OR {is_worse} THEN 'unacknowledged'
                ELSE a.acknowledgement
            END,
            acknowledged_at = CASE
                WHEN a.condition = 'returned' OR {is_worse} THEN NULL
                ELSE a.acknowledged_at
            END,
            suppression = CASE
                WHEN a.suppression = 'shelved' AND {is_worse} THEN 'none'
                ELSE a.suppression
            END
        RETURNING id, severity, occurrences
    ), step AS (
        SELECT
            raised.id,
            CASE
                WHEN raised.occurrences = 1 THEN 'raised'
                WHEN before.condition = 'returned' THEN 'recurred'
                WHEN {is_worse_than_before} THEN 'worsened'
            END AS step
        FROM raised
        LEFT JOIN before ON true
    ), occurrence AS (
        INSERT INTO alert_occurrences (alert_id, at, state, source)
        SELECT id, %(since_at)s, 'on', %(source)s::jsonb
        FROM raised
        WHERE %(source)s::jsonb IS NOT NULL
    ), shown_again AS (
        UPDATE suppressions
        SET ended_at = anju_now(), ended_by = 'worsened'
        FROM step
        WHERE step.step = 'worsened'
          AND kind = 'shelved'
          AND {key}
          AND suppressions.ended_at IS NULL
    ), change AS (
        INSERT INTO alert_changes (alert_id, actor, step)
        SELECT id, %(actor)s, step
        FROM step
        WHERE step IS NOT NULL
    )
    SELECT raised.id, raised.occurrences = 1 AS is_new
    FROM raised
""").format(
    key=_KEY,
    columns=_COLUMN_NAMES,
    values=_PLACEHOLDERS,
    is_worse=_is_worse("excluded", "a"),
    is_worse_than_before=_is_worse("raised", "before"),
)
