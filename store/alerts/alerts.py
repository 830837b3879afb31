"""Alerts as they stand: one typed row each, read within a scope or locked for a change."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import class_row

from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    AlertKey,
    AlertState,
    Severity,
    SubjectKind,
    Suppression,
)
from domain.periods import Period
from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One row of `alerts`, with the code and the time zone of its estate."""

    id: int
    estate_id: int
    estate: str
    timezone: str
    detector: str
    subject_kind: SubjectKind
    subject_id: int
    subject: str
    dedup_key: str
    alert_class: AlertClass
    severity: Severity
    score: float
    condition: AlertCondition
    acknowledgement: Acknowledgement
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    suppression: Suppression
    suppressed_because: str | None
    assignee: str | None
    latched: bool
    review: bool
    drill: bool
    reasons: Sequence[str]
    evidence: Mapping[str, Any]
    policy_version: str
    since_at: datetime
    until_at: datetime | None
    occurrences: int
    raised_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    version: int

    def __post_init__(self) -> None:
        """Give the words of the row their types: the driver reads them as text."""
        object.__setattr__(self, "subject_kind", SubjectKind(self.subject_kind))
        object.__setattr__(self, "alert_class", AlertClass(self.alert_class))
        object.__setattr__(self, "severity", Severity(self.severity))
        object.__setattr__(self, "condition", AlertCondition(self.condition))
        object.__setattr__(self, "acknowledgement", Acknowledgement(self.acknowledgement))
        object.__setattr__(self, "suppression", Suppression(self.suppression))

    @property
    def key(self) -> AlertKey:
        """The key under which at most one alert is open."""
        return AlertKey(
            detector=self.detector,
            subject_kind=self.subject_kind,
            subject_id=self.subject_id,
            dedup_key=self.dedup_key,
        )

    @property
    def state(self) -> AlertState:
        """Where the alert stands on its axes."""
        return AlertState(
            alert_class=self.alert_class,
            condition=self.condition,
            acknowledgement=self.acknowledgement,
            suppression=self.suppression,
            latched=self.latched,
            ended=self.ended_at is not None,
        )

    @property
    def period(self) -> Period:
        """When its condition began and ended."""
        return Period(start=self.since_at, end=self.until_at)

    @property
    def is_open(self) -> bool:
        """Whether the alert has not ended."""
        return self.ended_at is None


#: Reads whole alerts; `a` is the alert and `e` its estate.
SELECT_ALERTS = sql.SQL("""
    SELECT
        a.id, a.estate_id, e.code AS estate, e.timezone,
        a.detector, a.subject_kind, a.subject_id, a.subject, a.dedup_key,
        a.alert_class, a.severity, a.score, a.condition,
        a.acknowledgement, a.acknowledged_at, a.acknowledged_by,
        a.suppression, a.suppressed_because, a.assignee,
        a.latched, a.review, a.drill, a.reasons, a.evidence, a.policy_version,
        a.since_at, a.until_at, a.occurrences, a.raised_at, a.last_seen_at, a.ended_at, a.version
    FROM alerts a
    JOIN estates e ON e.id = a.estate_id
""")


def find_alert(
    connection: Connection, alert_id: int, estates: Collection[int], classes: Collection[str]
) -> Alert | None:
    """Read one alert within a scope of estates and classes."""
    query = SELECT_ALERTS + sql.SQL("""
        WHERE a.id = %(id)s
          AND a.estate_id = ANY(%(estates)s)
          AND a.alert_class = ANY(%(classes)s)
    """)
    scope = {"id": alert_id, "estates": list(estates), "classes": sorted(classes)}
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(query, scope).fetchone()


def list_by_ids(connection: Connection, alert_ids: Collection[int]) -> dict[int, Alert]:
    """Read alerts by id, whatever their estate and class."""
    query = SELECT_ALERTS + sql.SQL("WHERE a.id = ANY(%s)")
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return {alert.id: alert for alert in cursor.execute(query, [list(alert_ids)])}


def lock_open_alert(connection: Connection, key: AlertKey) -> Alert | None:
    """Read and lock the open alert of a key."""
    return lock_open_alerts(connection, [key]).get(key)


def lock_open_alerts(connection: Connection, keys: Collection[AlertKey]) -> dict[AlertKey, Alert]:
    """Read and lock the open alerts of keys, in the order of their ids.

    The order is the same for every watcher, so that two of them cannot lock each other out.
    """
    query = SELECT_ALERTS + sql.SQL("""
        JOIN unnest(
            %(detectors)s::text[], %(subject_kinds)s::text[],
            %(subject_ids)s::integer[], %(dedup_keys)s::text[]
        ) AS k (detector, subject_kind, subject_id, dedup_key)
            USING (detector, subject_kind, subject_id, dedup_key)
        WHERE a.ended_at IS NULL
        ORDER BY a.id
        FOR UPDATE OF a
    """)
    columns = {
        "detectors": [key.detector for key in keys],
        "subject_kinds": [key.subject_kind for key in keys],
        "subject_ids": [key.subject_id for key in keys],
        "dedup_keys": [key.dedup_key for key in keys],
    }
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return {alert.key: alert for alert in cursor.execute(query, columns)}


def lock_unit_alerts(
    connection: Connection, units: Sequence[int], detectors: Sequence[str]
) -> dict[str, list[Alert]]:
    """Read and lock all alerts of detectors about units, ended ones too.

    Returns them by detector; those of a unit follow each other, oldest first.
    """
    query = SELECT_ALERTS + sql.SQL("""
        WHERE a.subject_kind = 'unit'
          AND a.subject_id = ANY(%s)
          AND a.detector = ANY(%s)
        ORDER BY a.subject_id, a.since_at
        FOR UPDATE OF a
    """)
    by_detector: dict[str, list[Alert]] = {}
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        for alert in cursor.execute(query, [list(units), list(detectors)]):
            by_detector.setdefault(alert.detector, []).append(alert)
    return by_detector


def read_active_severities(
    connection: Connection, detectors: Sequence[str]
) -> dict[AlertKey, Severity]:
    """List the severity of each alert of detectors that is open and has not returned.

    Nothing is locked.
    """
    rows = connection.execute(
        """
        SELECT detector, subject_kind, subject_id, dedup_key, severity
        FROM alerts
        WHERE detector = ANY(%s)
          AND ended_at IS NULL
          AND condition <> 'returned'
        """,
        [list(detectors)],
    )
    return {_key(row): Severity(row["severity"]) for row in rows}


def list_open_keys(connection: Connection, detector: str) -> set[AlertKey]:
    """List the keys under which a detector's alerts are open."""
    rows = connection.execute(
        """
        SELECT detector, subject_kind, subject_id, dedup_key
        FROM alerts
        WHERE detector = %s
          AND ended_at IS NULL
        """,
        [detector],
    )
    return {_key(row) for row in rows}


def _key(row: Mapping[str, Any]) -> AlertKey:
    return AlertKey(
        detector=row["detector"],
        subject_kind=SubjectKind(row["subject_kind"]),
        subject_id=row["subject_id"],
        dedup_key=row["dedup_key"],
    )
