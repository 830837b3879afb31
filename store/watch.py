"""The queue of events that watch acts on, and the look-ups it needs for each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from store.connect import Connection


def take(connection: Connection, limit: int = 200) -> list[dict[str, Any]]:
    """Take events off the queue, oldest first, inside the transaction that acts on them.

    If that transaction fails they are back; two watchers never take the same one.
    """
    return connection.execute(
        "WITH taken AS (DELETE FROM watch_queue WHERE id IN (SELECT id FROM watch_queue ORDER BY id LIMIT %s "
        "FOR UPDATE SKIP LOCKED) RETURNING *) SELECT t.*, d.code AS device, d.kind AS device_kind, d.estate_id, "
        "m.unit_id, m.place, u.code AS unit, n.code AS entrance, b.code AS building FROM taken t "
        "JOIN devices d ON d.id = t.device_id "
        "LEFT JOIN LATERAL (SELECT * FROM mounts m WHERE m.device_id = t.device_id AND m.valid_from <= t.at "
        "AND (m.valid_to IS NULL OR m.valid_to > t.at) ORDER BY m.valid_from DESC LIMIT 1) m ON true "
        "LEFT JOIN units u ON u.id = m.unit_id LEFT JOIN entrances n ON n.id = coalesce(m.entrance_id, u.entrance_id) "
        "LEFT JOIN buildings b ON b.id = coalesce(m.building_id, n.building_id) ORDER BY t.id",
        [limit],
    ).fetchall()


def ended_since(connection: Connection, device_id: int, kind: str, word: str, at: datetime) -> datetime | None:
    """Return when a condition that began at `at` was over, where that is stored already: a gateway sends its newest first."""
    row = connection.execute(
        "SELECT min(at) AS at FROM events WHERE device_id = %s AND kind = %s AND at > %s AND data->>'state' = 'off' "
        "AND coalesce(data->>'hazard', data->>'condition') = %s",
        [device_id, kind, at, word],
    ).fetchone()
    return row["at"] if row else None


def gateways(connection: Connection) -> list[dict[str, Any]]:
    """List gateways by their last word (their last will, where they are offline): the skew of their clock, what hangs on them."""
    return connection.execute(
        "SELECT g.id AS gateway_id, g.code AS gateway, g.estate_id, s.at, s.online, s.skew_ms, "
        "(SELECT count(*) FROM devices d WHERE d.gateway_id = g.id) AS devices FROM gateway_state s "
        "JOIN gateways g ON g.id = s.gateway_id WHERE g.retired_on IS NULL"
    ).fetchall()
