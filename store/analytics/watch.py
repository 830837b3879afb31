"""What watch works on: the queue of events, the conditions that wait, and the look-ups it needs for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from store.database.connection import Connection

#: Lanes of the queue, by device; the table's generated column says the same.
LANES = 16
_LANES_AT_ONCE = 8
_LOCK = 7_301


def take(connection: Connection, *, urgent: bool, limit: int = 200) -> list[dict[str, Any]]:
    """Take events off some lanes of the queue, oldest first, inside the transaction that acts on them.

    If that transaction fails they are back. A lane is one watcher's until its transaction ends, so that what a device says is acted
    on in its order however many watchers run.
    """
    lanes = connection.execute(
        "SELECT lane FROM (SELECT lane FROM generate_series(0, %s) AS lane WHERE EXISTS (SELECT FROM watch_queue q WHERE q.urgent = %s "
        "AND q.lane = lane.lane) ORDER BY random() LIMIT %s) free WHERE pg_try_advisory_xact_lock(%s, lane + %s)",
        [LANES - 1, urgent, _LANES_AT_ONCE, _LOCK, LANES if urgent else 0],
    ).fetchall()
    if not lanes:
        return []
    return connection.execute(
        "WITH taken AS (DELETE FROM watch_queue WHERE id IN (SELECT id FROM watch_queue WHERE urgent = %s AND lane = ANY(%s::smallint[]) "
        "ORDER BY id LIMIT %s) RETURNING *) SELECT t.*, d.code AS device, d.kind AS device_kind, d.estate_id, "
        "m.unit_id, m.place, u.code AS unit, n.code AS entrance, b.code AS building FROM taken t "
        "JOIN devices d ON d.id = t.device_id "
        "LEFT JOIN LATERAL (SELECT * FROM mounts m WHERE m.device_id = t.device_id AND m.valid_from <= t.at "
        "AND (m.valid_to IS NULL OR m.valid_to > t.at) ORDER BY m.valid_from DESC LIMIT 1) m ON true "
        "LEFT JOIN units u ON u.id = m.unit_id LEFT JOIN entrances n ON n.id = coalesce(m.entrance_id, u.entrance_id) "
        "LEFT JOIN buildings b ON b.id = coalesce(m.building_id, n.building_id) ORDER BY t.id",
        [urgent, [row["lane"] for row in lanes], limit],
    ).fetchall()


def ended_since(
    connection: Connection, device_id: int, kind: str, word: str, at: datetime
) -> datetime | None:
    """Return when a condition that began at `at` was over, where that is stored already: a gateway sends its newest first."""
    row = connection.execute(
        "SELECT min(at) AS at FROM events WHERE device_id = %s AND kind = %s AND at > %s AND data->>'state' = 'off' "
        "AND coalesce(data->>'hazard', data->>'condition') = %s",
        [device_id, kind, at, word],
    ).fetchone()
    return row["at"] if row else None


# Conditions that wait ------------------------------------------------------------------------------------------------

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A condition that turns on or off at `due_at` unless something comes between; `source` is what is needed then."""

    key: Key
    turns: str
    at: datetime
    due_at: datetime
    source: dict[str, Any]


def find_timers(connection: Connection, keys: Sequence[Key]) -> dict[Key, Timer]:
    """Read the timers of keys (detector, kind of subject, its id)."""
    rows = connection.execute(
        "SELECT t.* FROM watch_timers t JOIN unnest(%s::text[], %s::text[], %s::integer[]) AS k (detector, subject_kind, subject_id) "
        "USING (detector, subject_kind, subject_id) FOR UPDATE OF t",
        [[k[0] for k in keys], [k[1] for k in keys], [k[2] for k in keys]],
    )
    return {timer.key: timer for timer in map(_timer, rows)}


def waiting_keys(connection: Connection, detectors: Sequence[str]) -> set[Key]:
    """List the keys of detectors that wait to turn on, without a lock."""
    rows = connection.execute(
        "SELECT detector, subject_kind, subject_id FROM watch_timers WHERE detector = ANY(%s) AND transition = 'on'",
        [list(detectors)],
    )
    return {(row["detector"], row["subject_kind"], row["subject_id"]) for row in rows}


def alone(connection: Connection) -> bool:
    """Take the periodic checks upon us until the transaction ends; False where another watcher has them."""
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s, 100) AS got", [_LOCK]).fetchone()
    return bool(row and row["got"])


def set_timers(connection: Connection, timers: Sequence[Timer], gone: Sequence[Key]) -> None:
    """Set timers, and drop those of keys that wait no longer."""
    if gone:
        connection.execute(
            "DELETE FROM watch_timers t USING unnest(%s::text[], %s::text[], %s::integer[]) AS k (detector, subject_kind, subject_id) "
            "WHERE (t.detector, t.subject_kind, t.subject_id) = (k.detector, k.subject_kind, k.subject_id)",
            [[k[0] for k in gone], [k[1] for k in gone], [k[2] for k in gone]],
        )
    if timers:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO watch_timers (detector, subject_kind, subject_id, transition, at, due_at, source) VALUES (%s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (detector, subject_kind, subject_id) DO UPDATE SET transition = excluded.transition, at = excluded.at, "
                "due_at = excluded.due_at, source = excluded.source",
                [(*t.key, t.turns, t.at, t.due_at, Jsonb(t.source)) for t in timers],
            )


def take_due(
    connection: Connection, now: datetime, behind_gateway: Sequence[str], limit: int = 500
) -> list[Timer]:
    """Take timers that are due, inside the transaction that acts on them.

    Those of detectors `behind_gateway` wait on while their device's gateway is silent: its one alert speaks for them.
    """
    rows = connection.execute(
        "DELETE FROM watch_timers WHERE (detector, subject_kind, subject_id) IN (SELECT t.detector, t.subject_kind, t.subject_id "
        "FROM watch_timers t WHERE t.due_at <= %s AND NOT (t.detector = ANY(%s) AND t.transition = 'on' AND EXISTS (SELECT FROM devices d "
        "JOIN gateway_state g ON g.gateway_id = d.gateway_id WHERE d.id = t.subject_id AND NOT g.online)) "
        "ORDER BY t.due_at LIMIT %s FOR UPDATE OF t SKIP LOCKED) RETURNING *",
        [now, list(behind_gateway), limit],
    )
    return sorted(map(_timer, rows), key=lambda t: t.due_at)


def _timer(row: dict[str, Any]) -> Timer:
    key = (row["detector"], row["subject_kind"], row["subject_id"])
    return Timer(
        key=key, turns=row["transition"], at=row["at"], due_at=row["due_at"], source=row["source"]
    )


# What is asked for, not told -----------------------------------------------------------------------------------------


def gateways(connection: Connection) -> list[dict[str, Any]]:
    """List gateways by their last word (their last will, where they are offline): the skew of their clock, what hangs on them."""
    return connection.execute(
        "SELECT g.id AS gateway_id, g.code AS gateway, g.estate_id, s.at, s.online, s.skew_ms, s.credential_conflict_at, "
        "(SELECT count(*) FROM devices d WHERE d.gateway_id = g.id) AS devices FROM gateway_state s "
        "JOIN gateways g ON g.id = s.gateway_id WHERE g.retired_on IS NULL ORDER BY g.id"
    ).fetchall()


def refusals(connection: Connection, since: datetime) -> dict[int, tuple[int, int]]:
    """Count by gateway what was refused of its messages since an instant, and how much of that came with a credential that was revoked."""
    rows = connection.execute(
        "SELECT g.id, q.refused, CASE WHEN EXISTS (SELECT FROM gateway_certificates c WHERE c.gateway_id = g.id AND c.revoked_at IS NOT NULL) "
        "AND NOT EXISTS (SELECT FROM gateway_certificates c WHERE c.gateway_id = g.id AND c.revoked_at IS NULL) THEN q.unknown ELSE 0 END AS revoked "
        "FROM (SELECT split_part(topic, '/', 3) AS estate, split_part(topic, '/', 4) AS gateway, count(*) AS refused, "
        "count(*) FILTER (WHERE reason = 'unknown_gateway') AS unknown FROM quarantine WHERE received_at > %s GROUP BY 1, 2) q "
        "JOIN estates e ON e.code = q.estate JOIN gateways g ON g.estate_id = e.id AND g.code = q.gateway",
        [since],
    )
    return {row["id"]: (row["refused"], row["revoked"]) for row in rows}


def last_values(
    connection: Connection, points: Sequence[str], since: datetime
) -> list[dict[str, Any]]:
    """List the last values of points by name that are not older than `since`, with their device and where it is mounted."""
    return connection.execute(
        "SELECT p.id AS point_id, p.name AS point, v.at, v.value, d.id AS device_id, d.code AS device, d.kind, d.estate_id, m.unit_id, "
        "coalesce(m.place, u.code, n.code, b.code) AS place FROM points p JOIN latest_values v ON v.point_id = p.id "
        "JOIN devices d ON d.id = p.device_id LEFT JOIN mounts m ON m.device_id = d.id AND m.valid_to IS NULL "
        "LEFT JOIN units u ON u.id = m.unit_id LEFT JOIN entrances n ON n.id = m.entrance_id LEFT JOIN buildings b ON b.id = m.building_id "
        "WHERE p.name = ANY(%s) AND v.at >= %s AND d.retired_on IS NULL",
        [list(points), since],
    ).fetchall()
