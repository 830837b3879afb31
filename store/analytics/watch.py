"""What the watch works on: the queue of events, and the last words of gateways and gauges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from domain.alerting import DetectorName
from store.database.connection import Connection

#: Lanes of the queue, by device; the table's generated column says the same.
LANES = 16
_LANES_AT_ONCE = 8
#: Namespace of the watch's advisory locks: one for each lane of each kind, and one for the checks.
_LOCK = 7_301
_LOCK_OF_CHECKS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedEvent:
    """An event that waits for the watch, with the place of its device at the time."""

    id: int
    device_id: int
    device: str
    estate_id: int
    at: datetime
    event_id: str
    kind: str
    """What kind of event: "hazard" or "device"."""
    data: Mapping[str, Any]
    place: str | None
    unit: str | None
    entrance: str | None
    building: str | None

    @property
    def word(self) -> str:
        """The hazard or the condition that the device reports."""
        return str(self.data.get("hazard" if self.kind == "hazard" else "condition"))

    @property
    def location(self) -> str:
        """The most precise name of the place that is known; "?" where none is."""
        return self.place or self.unit or self.entrance or self.building or "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCondition:
    """The last state that a gateway reported; its last will, where it is offline."""

    gateway_id: int
    gateway: str
    estate_id: int
    at: datetime
    online: bool
    skew_ms: int | None
    """How far its clock is ahead of ours; None while that is unknown."""
    credential_conflict_at: datetime | None
    """When two holders of its credential were last seen at once."""
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedMessages:
    """How many messages of one gateway were refused within a span."""

    gateway_id: int
    refused: int
    revoked: int
    """How many of them came with a revoked credential."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestGauge:
    """The last value of a point, with its device and where that is mounted."""

    point_id: int
    point: str
    at: datetime
    value: float
    device_id: int
    device: str
    kind: str
    estate_id: int
    place: str | None


def take_events(connection: Connection, *, urgent: bool, limit: int = 200) -> list[QueuedEvent]:
    """Take events off some lanes of the queue, oldest first.

    They are taken inside the transaction that acts on them: if it fails, they are back. A lane
    belongs to one watcher until its transaction ends, so that each device's events are acted on in
    their order however many watchers run.
    """
    lanes = _lock_lanes(connection, urgent=urgent)
    if not lanes:
        return []
    query = """
        WITH taken AS (
            DELETE FROM watch_queue
            WHERE id IN (
                SELECT id
                FROM watch_queue
                WHERE urgent = %(urgent)s
                  AND lane = ANY(%(lanes)s::smallint[])
                ORDER BY id
                LIMIT %(limit)s
            )
            RETURNING *
        )
        SELECT
            t.id, t.device_id, t.at, t.event_id, t.kind, t.data,
            d.code AS device, d.estate_id, m.place,
            u.code AS unit, n.code AS entrance, b.code AS building
        FROM taken t
        JOIN devices d ON d.id = t.device_id
        LEFT JOIN LATERAL (
            SELECT *
            FROM mounts m
            WHERE m.device_id = t.device_id
              AND m.valid_from <= t.at
              AND (m.valid_to IS NULL OR m.valid_to > t.at)
            ORDER BY m.valid_from DESC
            LIMIT 1
        ) m ON true
        LEFT JOIN units u ON u.id = m.unit_id
        LEFT JOIN entrances n ON n.id = coalesce(m.entrance_id, u.entrance_id)
        LEFT JOIN buildings b ON b.id = coalesce(m.building_id, n.building_id)
        ORDER BY t.id
    """
    with connection.cursor(row_factory=class_row(QueuedEvent)) as cursor:
        values = {"urgent": urgent, "lanes": lanes, "limit": limit}
        return cursor.execute(query, values).fetchall()


def _lock_lanes(connection: Connection, *, urgent: bool) -> list[int]:
    """Lock some lanes that hold events and that no other watcher has."""
    rows = connection.execute(
        """
        SELECT lane
        FROM (
            SELECT lane
            FROM generate_series(0, %(last_lane)s) AS lane
            WHERE EXISTS (
                SELECT
                FROM watch_queue q
                WHERE q.urgent = %(urgent)s
                  AND q.lane = lane.lane
            )
            ORDER BY random()
            LIMIT %(at_once)s
        ) candidates
        WHERE pg_try_advisory_xact_lock(%(lock)s, lane + %(first_lock)s)
        """,
        {
            "last_lane": LANES - 1,
            "urgent": urgent,
            "at_once": _LANES_AT_ONCE,
            "lock": _LOCK,
            "first_lock": LANES if urgent else 0,
        },
    )
    return [row["lane"] for row in rows]


def find_condition_end(
    connection: Connection, device_id: int, detector: DetectorName, began_at: datetime
) -> datetime | None:
    """Return when a condition that began at an instant ended, where its end is stored already.

    A gateway that was cut off sends its newest events first.
    """
    row = connection.execute(
        """
        SELECT min(at) AS at
        FROM events
        WHERE device_id = %(device)s
          AND kind = %(kind)s
          AND at > %(began_at)s
          AND data ->> 'state' = 'off'
          AND coalesce(data ->> 'hazard', data ->> 'condition') = %(word)s
        """,
        {
            "device": device_id,
            "kind": detector.family,
            "began_at": began_at,
            "word": detector.word,
        },
    ).fetchone()
    return row["at"] if row else None


def try_lock_checks(connection: Connection) -> bool:
    """Take the periodic checks until the transaction ends; False where another watcher has them."""
    row = connection.execute(
        "SELECT pg_try_advisory_xact_lock(%s, %s) AS locked", [_LOCK, _LOCK_OF_CHECKS]
    ).fetchone()
    return bool(row and row["locked"])


def list_gateway_conditions(connection: Connection) -> list[GatewayCondition]:
    """List the last states of all gateways that are in service."""
    query = """
        SELECT
            g.id AS gateway_id, g.code AS gateway, g.estate_id,
            s.at, s.online, s.skew_ms, s.credential_conflict_at,
            (SELECT count(*) FROM devices d WHERE d.gateway_id = g.id) AS devices
        FROM gateway_state s
        JOIN gateways g ON g.id = s.gateway_id
        WHERE g.retired_on IS NULL
        ORDER BY g.id
    """
    with connection.cursor(row_factory=class_row(GatewayCondition)) as cursor:
        return cursor.execute(query).fetchall()


def count_refused_messages(connection: Connection, since: datetime) -> dict[int, RefusedMessages]:
    """Count the refused messages of each gateway since an instant, by the gateway's id."""
    query = """
        SELECT
            g.id AS gateway_id,
            q.refused,
            CASE
                WHEN EXISTS (
                    SELECT
                    FROM gateway_certificates c
                    WHERE c.gateway_id = g.id
                      AND c.revoked_at IS NOT NULL
                ) AND NOT EXISTS (
                    SELECT
                    FROM gateway_certificates c
                    WHERE c.gateway_id = g.id
                      AND c.revoked_at IS NULL
                ) THEN q.unknown
                ELSE 0
            END AS revoked
        FROM (
            SELECT
                split_part(topic, '/', 3) AS estate,
                split_part(topic, '/', 4) AS gateway,
                count(*) AS refused,
                count(*) FILTER (WHERE reason = 'unknown_gateway') AS unknown
            FROM quarantine
            WHERE received_at > %s
            GROUP BY 1, 2
        ) q
        JOIN estates e ON e.code = q.estate
        JOIN gateways g ON g.estate_id = e.id AND g.code = q.gateway
    """
    with connection.cursor(row_factory=class_row(RefusedMessages)) as cursor:
        return {row.gateway_id: row for row in cursor.execute(query, [since])}


def list_latest_gauges(
    connection: Connection, points: Sequence[str], since: datetime
) -> list[LatestGauge]:
    """List the last values of points by name, if they are not older than `since`."""
    query = """
        SELECT
            p.id AS point_id, p.name AS point, v.at, v.value,
            d.id AS device_id, d.code AS device, d.kind, d.estate_id,
            coalesce(m.place, u.code, n.code, b.code) AS place
        FROM points p
        JOIN latest_values v ON v.point_id = p.id
        JOIN devices d ON d.id = p.device_id
        LEFT JOIN mounts m ON m.device_id = d.id AND m.valid_to IS NULL
        LEFT JOIN units u ON u.id = m.unit_id
        LEFT JOIN entrances n ON n.id = m.entrance_id
        LEFT JOIN buildings b ON b.id = m.building_id
        WHERE p.name = ANY(%s)
          AND v.at >= %s
          AND d.retired_on IS NULL
    """
    with connection.cursor(row_factory=class_row(LatestGauge)) as cursor:
        return cursor.execute(query, [list(points), since]).fetchall()
