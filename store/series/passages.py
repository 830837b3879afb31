"""Who came through the doors and gates of units, by local day.

Everything is asked for as of an instant: what had not arrived by then is not counted. Days are
numbers, counted from 2000-01-01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row, tuple_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWindow:
    """Which events count: those from `low` to before `high` that had arrived by `known_at`."""

    low: datetime
    high: datetime
    known_at: datetime
    zone: str
    """The time zone of local days and hours."""


# Doors -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDoor:
    """A door that a unit goes through: its own or its entrance's; and one of the door's points."""

    unit_id: int
    door_id: int
    point_id: int | None
    """None: the door has no point."""


def list_doors(connection: Connection, units: Sequence[int]) -> list[UnitDoor]:
    """List the doors that units go through, once for each point of the door."""
    with connection.cursor(row_factory=class_row(UnitDoor)) as cursor:
        return cursor.execute(
            """
            SELECT DISTINCT a.unit_id, a.device_id AS door_id, p.id AS point_id
            FROM (
                SELECT unit_id, device_id
                FROM mounts
                WHERE unit_id = ANY(%(units)s)
                UNION ALL
                SELECT u.id, m.device_id
                FROM units u
                JOIN mounts m ON m.entrance_id = u.entrance_id
                WHERE u.id = ANY(%(units)s)
            ) a
            JOIN devices d ON d.id = a.device_id AND d.kind = 'door'
            LEFT JOIN points p ON p.device_id = d.id
            """,
            {"units": list(units)},
        ).fetchall()


def list_passage_days(
    connection: Connection, doors: Sequence[int], window: EventWindow
) -> list[tuple[int, int]]:
    """List the (door, day) pairs on which anybody came to a door, whether or not it opened."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(
            """
            SELECT DISTINCT device_id, (at AT TIME ZONE %(zone)s)::date - date '2000-01-01'
            FROM events
            WHERE device_id = ANY(%(doors)s)
              AND at >= %(low)s
              AND at < %(high)s
              AND recorded_at <= %(known_at)s
              AND kind = 'passage'
            """,
            {"doors": list(doors), **_values(window)},
        ).fetchall()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDays:
    """Who came through the doors of units, as columns of one length: a row per unit, day and token.

    From the store `unit` are ids and `day` are day numbers; in a block of facts they are the row
    and the column of arrays of shape (units, days).
    """

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    person_kind: NDArray[np.int64]
    """A `domain.people.PersonKind`."""
    token: NDArray[np.int64]
    """A hash; 0: nobody could tell whose passage it was."""
    entries: NDArray[np.int64]
    exits: NDArray[np.int64]
    night: NDArray[np.int64]
    """1: the day began with leaving before ten, or ended with coming home after six."""
    lent: NDArray[np.int64]
    """Passages with a credential that is registered for somebody else."""


def read_token_days(connection: Connection, units: Sequence[int], window: EventWindow) -> TokenDays:
    """Read who came through the doors of units, by unit, local day and token.

    A token belongs to a resident, or to the credential of one. At a unit's own door every token
    counts for that unit. At an entrance only tokens of people count whose household holds a unit
    there, or did.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_PEOPLE_BY_DAY, {"units": list(units), **_values(window)}).fetchall()
    columns = np.array(rows, dtype=np.int64).reshape(-1, 8).T
    return TokenDays(
        unit=columns[0],
        day=columns[1],
        person_kind=columns[2],
        token=columns[3],
        entries=columns[4],
        exits=columns[5],
        night=columns[6],
        lent=columns[7],
    )


#: A night was spent where the day begins with leaving, or ends with coming home.
_PEOPLE_BY_DAY = """
    WITH doors AS (
        SELECT m.device_id, m.unit_id, m.valid_from, m.valid_to
        FROM mounts m
        JOIN devices d ON d.id = m.device_id
        WHERE d.kind = 'door'
          AND m.unit_id = ANY(%(units)s)
        UNION
        SELECT m.device_id, NULL, m.valid_from, m.valid_to
        FROM mounts m
        JOIN devices d ON d.id = m.device_id
        WHERE d.kind = 'door'
          AND m.entrance_id = ANY(
              ARRAY(SELECT DISTINCT entrance_id FROM units WHERE id = ANY(%(units)s))
          )
    ), seen AS (
        SELECT d.unit_id AS door_unit,
               (e.at AT TIME ZONE %(zone)s) AS local,
               e.data ->> 'direction' AS direction,
               e.data ->> 'person' AS person,
               e.data ->> 'credential' AS credential
        FROM doors d
        JOIN events e ON e.device_id = d.device_id
            AND e.at >= d.valid_from
            AND (d.valid_to IS NULL OR e.at < d.valid_to)
        WHERE e.at >= %(low)s
          AND e.at < %(high)s
          AND e.recorded_at <= %(known_at)s
          AND e.kind = 'passage'
          AND e.data ->> 'outcome' = 'granted'
    ), days AS (
        SELECT door_unit, local::date AS day, person, credential,
               count(*) FILTER (WHERE direction IS DISTINCT FROM 'out') AS entries,
               count(*) FILTER (WHERE direction = 'out') AS exits,
               (array_agg(direction ORDER BY local))[1] = 'out'
                   AND min(local)::time < '10:00'
               OR (array_agg(direction ORDER BY local DESC))[1] IS DISTINCT FROM 'out'
                   AND max(local)::time >= '18:00' AS night
        FROM seen
        GROUP BY door_unit, local::date, person, credential
    ), known AS (
        SELECT s.*, coalesce(p.id, c.resident_id) AS resident_id,
               s.person IS NOT NULL
                   AND c.resident_id IS NOT NULL
                   AND c.resident_id IS DISTINCT FROM p.id AS lent
        FROM days s
        LEFT JOIN residents p ON p.code = s.person
        LEFT JOIN credentials c ON c.code = s.credential
    ), owned AS (
        SELECT coalesce(k.door_unit, t.unit_id) AS unit_id, k.day,
               coalesce(k.person, k.credential) AS token,
               k.entries, k.exits, k.night, k.lent,
               CASE
                   WHEN t.unit_id IS NULL OR t.unit_id <> coalesce(k.door_unit, t.unit_id) THEN 1
                   WHEN t.valid_to < k.day THEN 2
                   WHEN k.day < r.valid_from OR k.day > r.valid_to THEN 1
                   WHEN r.role IN ('guest', 'carer') THEN 3
                   ELSE 0
               END AS person_kind
        FROM known k
        LEFT JOIN residents r ON r.id = k.resident_id
        LEFT JOIN LATERAL (
            SELECT unit_id, valid_to
            FROM tenancies t
            WHERE t.household_id = r.household_id
              AND t.valid_from <= k.day
            ORDER BY t.valid_from DESC
            LIMIT 1
        ) t ON true
    )
    SELECT unit_id, day - date '2000-01-01', min(person_kind),
           coalesce(hashtextextended(token, unit_id), 0),
           sum(entries)::integer, sum(exits)::integer, bool_or(night)::integer,
           coalesce(sum(entries + exits) FILTER (WHERE lent), 0)::integer
    FROM owned
    WHERE unit_id = ANY(%(units)s)
    GROUP BY unit_id, day, token
"""


# Gates -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CarDays:
    """What gates saw of registered vehicles, as columns of one length: a row per unit and day.

    A day counts where all gates that a unit goes through reported something. `unit` and `day` are
    as in `TokenDays`.
    """

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    seen: NDArray[np.int64]
    nights: NDArray[np.int64]
    """Vehicles that were inside by night."""


def read_car_days(connection: Connection, units: Sequence[int], window: EventWindow) -> CarDays:
    """Read what gates saw of the vehicles of units' households, by unit and local day."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_CAR_DAYS, {"units": list(units), **_values(window)}).fetchall()
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return CarDays(unit=columns[0], day=columns[1], seen=columns[2], nights=columns[3])


_CAR_DAYS = """
    WITH cars AS (
        SELECT t.unit_id, u.estate_id, coalesce(n.building_id, 0) AS building_id, v.code,
               greatest(v.valid_from, t.valid_from) AS since,
               least(v.valid_to, t.valid_to) AS until
        FROM units u
        LEFT JOIN entrances n ON n.id = u.entrance_id
        JOIN tenancies t ON t.unit_id = u.id
        JOIN vehicles v ON v.household_id = t.household_id
        WHERE u.id = ANY(%(units)s)
          AND coalesce(v.recorded_on, v.valid_from) <= (%(known_at)s AT TIME ZONE %(zone)s)::date
    ), gates AS (
        SELECT a.estate_id, a.building_id, d.id AS gate, m.valid_from, m.valid_to
        FROM (SELECT DISTINCT estate_id, building_id FROM cars) a
        JOIN devices d ON d.estate_id = a.estate_id AND d.kind = 'gate'
        JOIN mounts m ON m.device_id = d.id
            AND coalesce(m.building_id, a.building_id) = a.building_id
    ), passed AS (
        SELECT g.estate_id, g.building_id, g.gate,
               (e.at AT TIME ZONE %(zone)s) AS local,
               (e.at AT TIME ZONE %(zone)s)::date AS day,
               e.data ->> 'plate' AS plate,
               e.data ->> 'direction' AS direction
        FROM gates g
        JOIN events e ON e.device_id = g.gate
            AND e.at >= g.valid_from
            AND (g.valid_to IS NULL OR e.at < g.valid_to)
        WHERE e.kind = 'plate'
          AND e.at >= %(low)s
          AND e.at < %(high)s
          AND e.recorded_at <= %(known_at)s
    ), reported AS (
        SELECT p.estate_id, p.building_id, p.day
        FROM passed p
        GROUP BY 1, 2, 3
        HAVING count(DISTINCT p.gate) = (
            SELECT count(DISTINCT g.gate)
            FROM gates g
            WHERE g.estate_id = p.estate_id
              AND g.building_id = p.building_id
              AND (g.valid_from AT TIME ZONE %(zone)s)::date <= p.day
              AND (g.valid_to IS NULL OR (g.valid_to AT TIME ZONE %(zone)s)::date >= p.day)
        )
    ), seen AS (
        SELECT estate_id, building_id, plate, day,
               (array_agg(direction ORDER BY local))[1] = 'out'
                   AND min(local)::time < '10:00'
               OR (array_agg(direction ORDER BY local DESC))[1] IS DISTINCT FROM 'out'
                   AND max(local)::time >= '18:00' AS night
        FROM passed
        GROUP BY 1, 2, 3, 4
    )
    SELECT c.unit_id, h.day - date '2000-01-01',
           count(s.plate)::integer,
           count(*) FILTER (WHERE s.night)::integer
    FROM cars c
    JOIN reported h ON h.estate_id = c.estate_id
        AND h.building_id = c.building_id
        AND h.day >= c.since
        AND (c.until IS NULL OR h.day <= c.until)
    LEFT JOIN seen s ON s.estate_id = c.estate_id
        AND s.building_id = c.building_id
        AND s.day = h.day
        AND s.plate = c.code
    GROUP BY c.unit_id, h.day
"""


def _values(window: EventWindow) -> dict[str, object]:
    return {
        "low": window.low,
        "high": min(window.high, window.known_at),
        "known_at": window.known_at,
        "zone": window.zone,
    }
