"""Alerts: raised by upsert, so that a second one is a count; every change leaves a row that the live stream replays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import sql
from psycopg.types.json import Jsonb

from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    AlertState,
    Severity,
    Suppression,
)
from store.database.connection import Connection


class StaleVersion(Exception):
    """Someone else changed the alert first; nothing was written. Read it again and decide again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlert:
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
    condition: AlertCondition = AlertCondition.ACTIVE
    latched: bool = False
    review: bool = False


_KEY = sql.SQL(
    "detector = %(detector)s AND subject_kind = %(subject_kind)s AND subject_id = %(subject_id)s AND dedup_key = %(dedup_key)s"
)
_WORSE: LiteralString = (
    "(array_position(ARRAY['low', 'medium', 'high', 'critical'], {}.severity) "
    "< array_position(ARRAY['low', 'medium', 'high', 'critical'], {}.severity))"
)
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
_NAMES = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
_PLACES = sql.SQL(", ").join(map(sql.Placeholder, _COLUMNS))
#: One round trip for the whole of it: the alert, what holds it back, its occurrence and the line on its record.
_RAISE = sql.SQL("""
WITH before AS (
    SELECT condition, severity FROM alerts WHERE {key} AND ended_at IS NULL
), held AS (
    SELECT kind, reason FROM suppressions WHERE {key} AND ended_at IS NULL AND (until_at IS NULL OR until_at > anju_now())
), work AS (
    SELECT coalesce(bool_or(kind = 'drill'), false) AS drill, max(reason) FILTER (WHERE kind = 'maintenance') AS reason
    FROM alarm_windows WHERE estate_id = %(estate_id)s AND ended_at IS NULL AND from_at <= anju_now() AND to_at > anju_now()
      AND (device_id IS NULL OR %(subject_kind)s = 'device' AND device_id = %(subject_id)s)
      AND (gateway_id IS NULL OR %(subject_kind)s = 'gateway' AND gateway_id = %(subject_id)s
           OR %(subject_kind)s = 'device' AND gateway_id = (SELECT d.gateway_id FROM devices d WHERE d.id = %(subject_id)s))
), raised AS (
    INSERT INTO alerts AS a ({columns}, drill, suppression, suppressed_because)
    SELECT {values}, work.drill,
           CASE WHEN held.kind IS NOT NULL THEN held.kind WHEN work.reason IS NOT NULL AND %(alert_class)s <> 'life_safety' THEN 'by_design'
                ELSE 'none' END,
           coalesce(held.reason, CASE WHEN %(alert_class)s <> 'life_safety' THEN work.reason END)
    FROM work LEFT JOIN held ON true
    ON CONFLICT (detector, subject_kind, subject_id, dedup_key) WHERE ended_at IS NULL DO UPDATE SET
        occurrences = a.occurrences + 1, last_seen_at = anju_now(), condition = excluded.condition, evidence = excluded.evidence,
        reasons = excluded.reasons, score = excluded.score, severity = excluded.severity,
        version = a.version + CASE WHEN a.condition = 'returned' OR {worse} THEN 1 ELSE 0 END,
        acknowledgement = CASE WHEN a.condition = 'returned' OR {worse} THEN 'unacknowledged'
                               ELSE a.acknowledgement END,
        acknowledged_at = CASE WHEN a.condition = 'returned' OR {worse} THEN NULL ELSE a.acknowledged_at END,
        suppression = CASE WHEN a.suppression = 'shelved' AND {worse} THEN 'none' ELSE a.suppression END
    RETURNING id, severity, occurrences
), step AS (
    SELECT raised.id, CASE WHEN raised.occurrences = 1 THEN 'raised' WHEN before.condition = 'returned' THEN 'recurred'
        WHEN {worse_than_before} THEN 'worsened' END AS step FROM raised LEFT JOIN before ON true
), occurrence AS (
    INSERT INTO alert_occurrences (alert_id, at, state, source) SELECT id, %(since_at)s, 'on', %(source)s::jsonb FROM raised
    WHERE %(source)s::jsonb IS NOT NULL
), shown_again AS (
    UPDATE suppressions SET ended_at = anju_now(), ended_by = 'worsened' FROM step
    WHERE step.step = 'worsened' AND kind = 'shelved' AND {key} AND suppressions.ended_at IS NULL
), change AS (
    INSERT INTO alert_changes (alert_id, actor, step) SELECT id, %(actor)s, step FROM step WHERE step IS NOT NULL
)
SELECT raised.id, raised.occurrences = 1 AS new FROM raised
""").format(
    key=_KEY,
    columns=_NAMES,
    values=_PLACES,
    worse=sql.SQL(_WORSE.format("a", "excluded")),
    worse_than_before=sql.SQL(_WORSE.format("before", "raised")),
)
_RECORD = sql.SQL("INSERT INTO alerts ({}, ended_at) VALUES ({}, anju_now()) RETURNING id").format(
    _NAMES, _PLACES
)


def raise_alert(
    connection: Connection, wanted: NewAlert, *, actor: str, source: dict[str, Any] | None = None
) -> tuple[int, bool]:
    """Open an alert, or count one more occurrence of the open one; returns its id and whether it is new.

    What comes again while it stands is a count, no line on its record and no new version (or nobody could acknowledge what
    chatters); what comes again after it had returned, or worse than before, calls anew. A shelf, an out-of-service or a
    maintenance window that holds its key back holds it back from the start.
    """
    row = connection.execute(
        _RAISE,
        {**_values(wanted), "actor": actor, "source": None if source is None else Jsonb(source)},
    ).fetchone()
    assert row is not None
    return row["id"], row["new"]


def record_ended(connection: Connection, wanted: NewAlert, *, actor: str) -> int:
    """Put an alert on record whose condition began and ended before anyone could be told (back-filled data)."""
    row = connection.execute(_RECORD, _values(wanted)).fetchone()
    assert row is not None
    note_change(connection, row["id"], actor, "recorded")
    return int(row["id"])


def _values(wanted: NewAlert) -> dict[str, Any]:
    values = {name: getattr(wanted, name) for name in _COLUMNS}
    values["latched"] = wanted.latched or wanted.alert_class is AlertClass.LIFE_SAFETY
    return {**values, "reasons": list(wanted.reasons), "evidence": Jsonb(wanted.evidence)}


def reopen(connection: Connection, alert_id: int, *, actor: str) -> None:
    """Take up an ended alert again whose condition turns out never to have ended."""
    connection.execute(
        "UPDATE alerts SET ended_at = NULL, version = version + 1 WHERE id = %s", [alert_id]
    )
    note_change(connection, alert_id, actor, "reopened")


def note_occurrence(
    connection: Connection, alert_id: int, at: datetime, state: str, source: dict[str, Any]
) -> None:
    """Keep one occurrence of an alert with what it came from."""
    connection.execute(
        "INSERT INTO alert_occurrences (alert_id, at, state, source) VALUES (%s, %s, %s, %s)",
        [alert_id, at, state, Jsonb(source)],
    )


def note_change(
    connection: Connection, alert_id: int, actor: str, step: str, note: str | None = None
) -> None:
    """Keep who changed an alert and how."""
    connection.execute(
        "INSERT INTO alert_changes (alert_id, actor, step, note) VALUES (%s, %s, %s, %s)",
        [alert_id, actor, step, note],
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


def find_standing(
    connection: Connection, keys: list[tuple[str, str, int]]
) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Read and lock the open alerts of keys (detector, kind of subject, its id), in an order that two watchers share."""
    rows = connection.execute(
        "SELECT a.* FROM alerts a JOIN unnest(%s::text[], %s::text[], %s::integer[]) AS k (detector, subject_kind, subject_id) "
        "USING (detector, subject_kind, subject_id) WHERE a.ended_at IS NULL AND a.dedup_key = '' ORDER BY a.id FOR UPDATE OF a",
        [[k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys]],
    )
    return {(row["detector"], row["subject_kind"], row["subject_id"]): row for row in rows}


def standing_of(connection: Connection, detectors: list[str]) -> dict[tuple[str, str, int], str]:
    """List what detectors have standing and not returned, without a lock: the severity of each key."""
    rows = connection.execute(
        "SELECT detector, subject_kind, subject_id, severity FROM alerts WHERE detector = ANY(%s) AND ended_at IS NULL "
        "AND condition <> 'returned'",
        [detectors],
    )
    return {(r["detector"], r["subject_kind"], r["subject_id"]): r["severity"] for r in rows}


def standing_keys(connection: Connection, detector: str) -> list[dict[str, Any]]:
    """List the subjects and keys under which a detector's alerts are open."""
    return connection.execute(
        "SELECT subject_id, dedup_key FROM alerts WHERE detector = %s AND ended_at IS NULL",
        [detector],
    ).fetchall()


def of_units(
    connection: Connection, units: list[int], detectors: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Read and lock all alerts of detectors about units, ended ones too, by detector."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(
        "SELECT * FROM alerts WHERE subject_kind = 'unit' AND subject_id = ANY(%s) AND detector = ANY(%s) "
        "ORDER BY subject_id, since_at FOR UPDATE",
        [units, detectors],
    ):
        found.setdefault(row["detector"], []).append(row)
    return found


def state_of(row: dict[str, Any]) -> AlertState:
    """Read an alert's axes from its row."""
    return AlertState(
        alert_class=AlertClass(row["alert_class"]),
        condition=AlertCondition(row["condition"]),
        acknowledgement=Acknowledgement(row["acknowledgement"]),
        suppression=Suppression(row["suppression"]),
        latched=row["latched"],
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
        "UPDATE alerts SET condition = %(condition)s, acknowledgement = %(ack)s, suppression = %(suppression)s, version = version + 1, "
        "acknowledged_at = CASE WHEN %(ack)s <> 'unacknowledged' THEN coalesce(acknowledged_at, anju_now()) END, "
        "acknowledged_by = CASE WHEN %(ack)s = 'unacknowledged' THEN NULL WHEN acknowledgement <> %(ack)s THEN %(actor)s ELSE acknowledged_by END, "
        "suppressed_because = CASE WHEN %(suppression)s = 'none' THEN NULL WHEN suppression <> %(suppression)s THEN %(note)s "
        "ELSE suppressed_because END, ended_at = CASE WHEN %(ended)s THEN coalesce(ended_at, anju_now()) END "
        "WHERE id = %(id)s AND (%(version)s::integer IS NULL OR version = %(version)s) RETURNING version",
        {
            "condition": state.condition,
            "ack": state.acknowledgement,
            "suppression": state.suppression,
            "ended": state.ended,
            "id": alert_id,
            "version": expected_version,
            "actor": actor,
            "note": note,
        },
    ).fetchone()
    if row is None:
        raise StaleVersion(f"alert {alert_id} was changed by someone else")
    note_change(connection, alert_id, actor, step, note)
    return int(row["version"])


def assign(
    connection: Connection,
    alert_id: int,
    assignee: str | None,
    *,
    actor: str,
    expected_version: int,
) -> int:
    """Give an alert to a person, or to nobody, and return its new version.

    Raises: Stale.
    """
    row = connection.execute(
        "UPDATE alerts SET assignee = %s, version = version + 1 WHERE id = %s AND version = %s RETURNING version",
        [assignee, alert_id, expected_version],
    ).fetchone()
    if row is None:
        raise StaleVersion(f"alert {alert_id} was changed by someone else")
    note_change(connection, alert_id, actor, "assigned", assignee)
    return int(row["version"])


def refresh(connection: Connection, alert_id: int, wanted: NewAlert) -> bool:
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


def history(connection: Connection, alert_id: int) -> list[dict[str, Any]]:
    """Read who changed an alert, oldest first."""
    return connection.execute(
        "SELECT seq, at, actor, step, note FROM alert_changes WHERE alert_id = %s ORDER BY seq",
        [alert_id],
    ).fetchall()
