"""Who asked to be looked after, and the signs of life that their home gives."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from store.database.connection import Connection


def list_signs(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """List the watches in force with the last sign of life, the last word of any sensor, and whether the person is out or away.

    Signs are water drawn, the person's own passages, an SOS, and that somebody looked and dismissed an alert. A person is out who
    was last seen leaving and has drawn no water since.
    """
    return connection.execute(
        """
        WITH w AS (SELECT * FROM welfare_watches WHERE ended_at IS NULL),
        doors AS (SELECT w.id, m.device_id FROM w JOIN units u ON u.id = w.unit_id JOIN mounts m ON m.valid_to IS NULL
                  AND (m.unit_id = u.id OR m.entrance_id = u.entrance_id)),
        passages AS (SELECT d.id, e.at, e.data ->> 'direction' AS direction FROM doors d JOIN w ON w.id = d.id
                     JOIN residents r ON r.id = w.resident_id JOIN events e ON e.device_id = d.device_id AND e.kind = 'passage'
                     WHERE e.at > %(now)s - interval '4 days' AND e.at <= %(now)s AND (e.data ->> 'person' = r.code
                     OR e.data ->> 'credential' IN (SELECT code FROM credentials c WHERE c.resident_id = r.id)))
        SELECT w.id, w.unit_id, w.quiet_hours, w.awake_from, w.awake_to, w.consented_at, u.code AS unit, u.estate_id, e.timezone,
            (SELECT max(water_last_use_at) FROM unit_days f WHERE f.unit_id = w.unit_id AND f.day > (%(now)s - interval '4 days')::date) AS water_at,
            (SELECT max(at) FROM passages p WHERE p.id = w.id) AS seen_at,
            (SELECT p.direction FROM passages p WHERE p.id = w.id ORDER BY p.at DESC LIMIT 1) AS direction,
            (SELECT max(a.ended_at) FROM alerts a JOIN alert_changes c ON c.alert_id = a.id AND c.step = 'dismissed'
             WHERE a.detector = 'no_sign_of_life' AND a.subject_kind = 'unit' AND a.subject_id = w.unit_id) AS visited_at,
            (SELECT max(v.at) FROM mounts m JOIN points p ON p.device_id = m.device_id JOIN latest_values v ON v.point_id = p.id
             WHERE m.unit_id = w.unit_id AND m.valid_to IS NULL AND p.name = 'water_m3') AS heard_at,
            EXISTS (SELECT FROM declarations d WHERE d.unit_id = w.unit_id AND d.kind = 'absence'
                    AND d.valid_from <= (%(now)s AT TIME ZONE e.timezone)::date
                    AND (d.valid_to IS NULL OR d.valid_to >= (%(now)s AT TIME ZONE e.timezone)::date)) AS away
        FROM w JOIN units u ON u.id = w.unit_id JOIN estates e ON e.id = u.estate_id ORDER BY w.id
        """,
        {"now": now},
    ).fetchall()


def add_watch(
    connection: Connection,
    *,
    unit_id: int,
    resident: str,
    quiet_hours: float,
    awake_from: time,
    awake_to: time,
    consented_at: datetime,
    actor: str,
) -> int | None:
    """Note that a resident asked for it; None where no such resident lives in the unit today."""
    row = connection.execute(
        "INSERT INTO welfare_watches (unit_id, resident_id, quiet_hours, awake_from, awake_to, consented_at, consented_by) "
        "SELECT t.unit_id, r.id, %s, %s, %s, %s, %s FROM residents r JOIN tenancies t ON t.household_id = r.household_id "
        "WHERE r.code = %s AND t.unit_id = %s AND t.valid_from <= current_date AND (t.valid_to IS NULL OR t.valid_to >= current_date) "
        "AND (r.valid_to IS NULL OR r.valid_to >= current_date) RETURNING id",
        [quiet_hours, awake_from, awake_to, consented_at, actor, resident, unit_id],
    ).fetchone()
    return int(row["id"]) if row else None


def end_watch(
    connection: Connection, watch_id: int, estates: tuple[int, ...], *, actor: str
) -> bool:
    """Note that a watch is over; False where there is none within reach."""
    done = connection.execute(
        "UPDATE welfare_watches w SET ended_at = anju_now(), ended_by = %s FROM units u WHERE w.id = %s AND u.id = w.unit_id "
        "AND u.estate_id = ANY(%s) AND w.ended_at IS NULL",
        [actor, watch_id, list(estates)],
    )
    return done.rowcount == 1


def list_watches(connection: Connection, estates: tuple[int, ...]) -> list[dict[str, Any]]:
    """List the watches in force within reach: the unit and the agreed hours, not the person."""
    return connection.execute(
        "SELECT w.id, e.code AS estate, u.code AS unit, w.quiet_hours, w.awake_from, w.awake_to, w.consented_at, w.consented_by "
        "FROM welfare_watches w JOIN units u ON u.id = w.unit_id JOIN estates e ON e.id = u.estate_id "
        "WHERE w.ended_at IS NULL AND u.estate_id = ANY(%s) ORDER BY w.id",
        [list(estates)],
    ).fetchall()
