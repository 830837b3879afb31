"""What facts are made of: what is dirty, the meters behind a unit, who came through its doors.

All of it is asked for as of an instant: what had not arrived by then is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import tuple_row

from store.database.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterMount:
    """A register point behind a unit's supply, while it was mounted there (ms UTC; None while it still is)."""

    unit_id: int
    device_id: int
    point_id: int
    point: str
    profile: str
    from_ms: int
    to_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtyUnit:
    """A unit whose facts are out of date, and between which instants its series changed."""

    unit_id: int
    estate_id: int
    from_at: datetime
    to_at: datetime


#: Dirty rows (a batch of one estate each) that one look takes: whatever a day holds, since each look computes its units' days anew.
SPANS_AT_ONCE = 50_000


def take_dirty(
    connection: Connection, estates: list[int], known_at: datetime, after: int = 0
) -> tuple[list[int], list[DirtyUnit]]:
    """Find what had changed in estates: the ids of the rows read, and per unit the whole span that changed.

    A door's span touches every unit of its entrance, since a passage there belongs to whoever lives behind it, and a gate's
    every unit of its building, or of the estate, that has a vehicle. The next look asks for rows `after` the last id of this one:
    what reaches beyond `known_at` stays, and must not be taken again and again.
    """
    rows = connection.execute(
        "SELECT id FROM dirty_spans WHERE estate_id = ANY(%s) AND received_at <= %s AND id > %s ORDER BY id LIMIT %s",
        [estates, known_at, after, SPANS_AT_ONCE],
    ).fetchall()
    ids = [row["id"] for row in rows]
    units = connection.execute(
        "WITH spans AS (SELECT d.device_id, min(d.from_ms) AS from_ms, max(d.to_ms) AS to_ms FROM dirty_spans s, "
        "unnest(s.devices, s.from_ms, s.to_ms) AS d (device_id, from_ms, to_ms) WHERE s.id = ANY(%s) GROUP BY d.device_id) "
        "SELECT u.id AS unit_id, h.estate_id, to_timestamp(min(s.from_ms) / 1000.0) AS from_at, "
        "to_timestamp(max(s.to_ms) / 1000.0) AS to_at "
        "FROM spans s CROSS JOIN LATERAL (SELECT unit_id AS id FROM mounts WHERE device_id = s.device_id AND unit_id IS NOT NULL "
        "UNION ALL SELECT n.id FROM mounts m JOIN units n ON n.entrance_id = m.entrance_id WHERE m.device_id = s.device_id "
        "AND m.unit_id IS NULL UNION ALL SELECT n.id FROM devices d JOIN mounts m ON m.device_id = d.id JOIN units n ON n.estate_id = d.estate_id "
        "LEFT JOIN entrances e ON e.id = n.entrance_id WHERE d.id = s.device_id AND d.kind = 'gate' "
        "AND (m.building_id IS NULL OR m.building_id = e.building_id) AND EXISTS (SELECT FROM tenancies t JOIN vehicles v "
        "ON v.household_id = t.household_id WHERE t.unit_id = n.id)) u JOIN units h ON h.id = u.id GROUP BY u.id, h.estate_id ORDER BY u.id",
        [ids],
    ).fetchall()
    return ids, [DirtyUnit(**row) for row in units]


def clear_dirty(connection: Connection, ids: list[int], known_at: datetime) -> None:
    """Note that spans have been worked into the facts; of those that reach beyond `known_at` the rest stays."""
    connection.execute(
        "DELETE FROM dirty_spans WHERE id = ANY(%s) AND NOT EXISTS "
        "(SELECT FROM unnest(to_ms) AS t (ms) WHERE to_timestamp(t.ms / 1000.0) > %s AND received_at = '-infinity')",
        [ids, known_at],
    )


def dirty_estates(connection: Connection) -> list[tuple[int, str]]:
    """List the estates (id, time zone) that have dirty spans; those played from a recording are judged by their nights."""
    rows = connection.execute(
        "SELECT id, timezone FROM estates WHERE id IN (SELECT estate_id FROM dirty_spans) AND NOT received_as_sent ORDER BY id"
    )
    return [(row["id"], row["timezone"]) for row in rows]


def settled(connection: Connection) -> bool:
    """Tell whether facts exist, every estate with facts has been judged, and hardly anything waits to be worked in."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM dirty_spans) < 50 AND EXISTS (SELECT FROM unit_days) "
        "AND EXISTS (SELECT FROM judged_days) AS settled"
    ).fetchone()
    return bool(row and row["settled"])


def estates_to_judge(connection: Connection, today: dict[str, date]) -> list[tuple[int, str]]:
    """List the estates (id, time zone) whose units have not been judged since their local day began."""
    rows = connection.execute(
        "SELECT e.id, e.timezone, j.day FROM estates e LEFT JOIN judged_days j ON j.estate_id = e.id "
        "WHERE NOT e.received_as_sent AND EXISTS (SELECT FROM units u WHERE u.estate_id = e.id) ORDER BY e.id"
    )
    return [
        (row["id"], row["timezone"])
        for row in rows
        if row["day"] is None or row["day"] < today[row["timezone"]]
    ]


def estate_zones(connection: Connection) -> list[str]:
    """List the time zones in use."""
    return [row["timezone"] for row in connection.execute("SELECT DISTINCT timezone FROM estates")]


def judged_day(connection: Connection, estate_id: int) -> date | None:
    """Return the last local day whose night an estate has had."""
    row = connection.execute(
        "SELECT day FROM judged_days WHERE estate_id = %s", [estate_id]
    ).fetchone()
    return row["day"] if row else None


def note_judged(connection: Connection, estate_id: int, day: date, clock: datetime) -> None:
    """Note that all units of an estate have been judged on a local day."""
    connection.execute(
        "INSERT INTO judged_days VALUES (%s, %s, %s) ON CONFLICT (estate_id) DO UPDATE SET day = excluded.day, "
        "clock_at = excluded.clock_at",
        [estate_id, day, clock],
    )


def count_units(connection: Connection) -> dict[int, int]:
    """Count the units of each estate."""
    rows = connection.execute("SELECT estate_id, count(*) AS n FROM units GROUP BY estate_id")
    return {row["estate_id"]: row["n"] for row in rows}


def units_of(connection: Connection, estate_id: int) -> list[int]:
    """List the units of an estate, whether or not anything is known of them, entrance by entrance."""
    rows = connection.execute(
        "SELECT id FROM units WHERE estate_id = %s ORDER BY entrance_id NULLS LAST, id", [estate_id]
    )
    return [row["id"] for row in rows]


def meters_of(connection: Connection, units: list[int], names: list[str]) -> list[MeterMount]:
    """List the register points of units, with the time for which each was mounted."""
    rows = connection.execute(
        "SELECT m.unit_id, d.id AS device_id, p.id AS point_id, p.name AS point, d.profile, "
        "(extract(epoch FROM m.valid_from) * 1000)::bigint AS from_ms, (extract(epoch FROM m.valid_to) * 1000)::bigint AS to_ms "
        "FROM mounts m JOIN devices d ON d.id = m.device_id JOIN points p ON p.device_id = d.id "
        "WHERE m.unit_id = ANY(%s) AND p.name = ANY(%s) ORDER BY m.unit_id, p.id",
        [units, names],
    )
    return [MeterMount(**row) for row in rows]


def devices_of(connection: Connection, units: list[int]) -> list[tuple[int, int, str]]:
    """List the meters of units: the unit, the device, and the point that its register is."""
    return (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "SELECT m.unit_id, d.id, CASE d.kind WHEN 'water_meter' THEN 'water_m3' ELSE 'energy_kwh' END FROM mounts m "
            "JOIN devices d ON d.id = m.device_id WHERE m.unit_id = ANY(%s) AND d.kind IN ('water_meter', 'electricity_meter') ORDER BY 1, 2",
            [units],
        )
        .fetchall()
    )


def neighbour_days(
    connection: Connection, spans: dict[int, tuple[date, date]], depth: int
) -> dict[int, tuple[date, date]]:
    """Widen each unit's span of days so that every supply has `depth` further readings on either side.

    An interval reaches from one reading to the next, over days on which a meter was silent; what changed on one day
    changes the facts of all the days up to its neighbours. Units with no further readings keep their span.
    """
    rows = connection.execute(
        """
        SELECT s.unit_id,
            (SELECT least(
                (SELECT min(day) FROM (SELECT day, sum(water_samples) OVER (ORDER BY day DESC) - water_samples AS had FROM
                    (SELECT day, water_samples FROM unit_days WHERE unit_id = s.unit_id AND day < s.low AND water_samples > 0
                     ORDER BY day DESC LIMIT %(n)s) w) w WHERE had < %(n)s),
                (SELECT min(day) FROM (SELECT day, sum(energy_samples) OVER (ORDER BY day DESC) - energy_samples AS had FROM
                    (SELECT day, energy_samples FROM unit_days WHERE unit_id = s.unit_id AND day < s.low AND energy_samples > 0
                     ORDER BY day DESC LIMIT %(n)s) e) e WHERE had < %(n)s))) AS before,
            (SELECT greatest(
                (SELECT max(day) FROM (SELECT day, sum(water_samples) OVER (ORDER BY day) - water_samples AS had FROM
                    (SELECT day, water_samples FROM unit_days WHERE unit_id = s.unit_id AND day > s.high AND water_samples > 0
                     ORDER BY day LIMIT %(n)s) w) w WHERE had < %(n)s),
                (SELECT max(day) FROM (SELECT day, sum(energy_samples) OVER (ORDER BY day) - energy_samples AS had FROM
                    (SELECT day, energy_samples FROM unit_days WHERE unit_id = s.unit_id AND day > s.high AND energy_samples > 0
                     ORDER BY day LIMIT %(n)s) e) e WHERE had < %(n)s))) AS after
        FROM unnest(%(units)s::integer[], %(lows)s::date[], %(highs)s::date[]) AS s (unit_id, low, high)
        """,
        {
            "n": depth,
            "units": list(spans),
            "lows": [a for a, _ in spans.values()],
            "highs": [b for _, b in spans.values()],
        },
    )
    return {
        row["unit_id"]: (
            row["before"] or spans[row["unit_id"]][0],
            row["after"] or spans[row["unit_id"]][1],
        )
        for row in rows
    }


#: One person's passages at one unit on one local day: unit, day (from 2000-01-01), who it was, the token's hash (0: no token), entries,
#: exits, whether the night was spent, and passages with a card that is registered for somebody else.
TokenDay = tuple[int, int, int, int, int, int, int, int]


def token_days(
    connection: Connection,
    units: list[int],
    low: datetime,
    high: datetime,
    zone: str,
    known_at: datetime,
) -> list[TokenDay]:
    """List who came through the doors of units, by unit, local day and token.

    A token belongs to a resident, or to the credential of one. At a unit's own door every token is that unit's; at an
    entrance only those of people whose household holds a unit there, or did. A night was spent where the day begins with
    leaving, or ends with coming home.
    """
    return (
        connection.cursor(row_factory=tuple_row)
        .execute(
            _PEOPLE,
            {
                "zone": zone,
                "low": low,
                "high": min(high, known_at),
                "known": known_at,
                "units": units,
            },
        )
        .fetchall()
    )


_PEOPLE = """
WITH doors AS (
    SELECT m.device_id, m.unit_id, m.valid_from, m.valid_to FROM mounts m JOIN devices d ON d.id = m.device_id
    WHERE d.kind = 'door' AND m.unit_id = ANY(%(units)s)
    UNION SELECT m.device_id, NULL, m.valid_from, m.valid_to FROM mounts m JOIN devices d ON d.id = m.device_id
    WHERE d.kind = 'door' AND m.entrance_id = ANY(ARRAY(SELECT DISTINCT entrance_id FROM units WHERE id = ANY(%(units)s)))
), seen AS (
    SELECT d.unit_id AS door_unit, (e.at AT TIME ZONE %(zone)s) AS local, e.data ->> 'direction' AS direction,
           e.data ->> 'person' AS person, e.data ->> 'credential' AS credential
    FROM doors d JOIN events e ON e.device_id = d.device_id AND e.at >= d.valid_from AND (d.valid_to IS NULL OR e.at < d.valid_to)
    WHERE e.at >= %(low)s AND e.at < %(high)s AND e.recorded_at <= %(known)s AND e.kind = 'passage'
      AND e.data ->> 'outcome' = 'granted'
), days AS (
    SELECT door_unit, local::date AS day, person, credential,
           count(*) FILTER (WHERE direction IS DISTINCT FROM 'out') AS entries,
           count(*) FILTER (WHERE direction = 'out') AS exits,
           (array_agg(direction ORDER BY local))[1] = 'out' AND min(local)::time < '10:00'
           OR (array_agg(direction ORDER BY local DESC))[1] IS DISTINCT FROM 'out' AND max(local)::time >= '18:00' AS night
    FROM seen GROUP BY door_unit, local::date, person, credential
), known AS (
    SELECT s.*, coalesce(p.id, c.resident_id) AS resident_id, s.person IS NOT NULL AND c.resident_id IS NOT NULL
           AND c.resident_id IS DISTINCT FROM p.id AS lent
    FROM days s LEFT JOIN residents p ON p.code = s.person LEFT JOIN credentials c ON c.code = s.credential
), owned AS (
    SELECT coalesce(k.door_unit, t.unit_id) AS unit_id, k.day, coalesce(k.person, k.credential) AS token, k.entries, k.exits,
           k.night, k.lent, CASE
               WHEN t.unit_id IS NULL OR t.unit_id <> coalesce(k.door_unit, t.unit_id) THEN 1
               WHEN t.valid_to < k.day THEN 2
               WHEN k.day < r.valid_from OR k.day > r.valid_to THEN 1
               WHEN r.role IN ('guest', 'carer') THEN 3
               ELSE 0 END AS who
    FROM known k LEFT JOIN residents r ON r.id = k.resident_id
    LEFT JOIN LATERAL (SELECT unit_id, valid_to FROM tenancies t WHERE t.household_id = r.household_id
                       AND t.valid_from <= k.day ORDER BY t.valid_from DESC LIMIT 1) t ON true
)
SELECT unit_id, day - date '2000-01-01', min(who), coalesce(hashtextextended(token, unit_id), 0), sum(entries)::integer, sum(exits)::integer,
       bool_or(night)::integer, coalesce(sum(entries + exits) FILTER (WHERE lent), 0)::integer
FROM owned WHERE unit_id = ANY(%(units)s) GROUP BY unit_id, day, token
"""


def car_days(
    connection: Connection,
    units: list[int],
    low: datetime,
    high: datetime,
    zone: str,
    known_at: datetime,
) -> list[tuple[int, int, int, int]]:
    """List for each unit and local day (from 2000-01-01) on which all of its gates saw any car at all: how many of the unit's
    registered vehicles they saw, and how many came in the evening or left in the morning.

    A vehicle that passed none of them counts as not seen. Where one gate is silent nobody knows.
    """
    return (
        connection.cursor(row_factory=tuple_row)
        .execute(
            _CARS,
            {
                "zone": zone,
                "low": low,
                "high": min(high, known_at),
                "known": known_at,
                "units": units,
            },
        )
        .fetchall()
    )


_CARS = """
WITH cars AS (
    SELECT t.unit_id, u.estate_id, coalesce(n.building_id, 0) AS building_id, v.code,
           greatest(v.valid_from, t.valid_from) AS since, least(v.valid_to, t.valid_to) AS until
    FROM units u LEFT JOIN entrances n ON n.id = u.entrance_id
    JOIN tenancies t ON t.unit_id = u.id JOIN vehicles v ON v.household_id = t.household_id
    WHERE u.id = ANY(%(units)s) AND coalesce(v.recorded_on, v.valid_from) <= (%(known)s AT TIME ZONE %(zone)s)::date
), gates AS (
    SELECT a.estate_id, a.building_id, d.id AS gate, m.valid_from, m.valid_to
    FROM (SELECT DISTINCT estate_id, building_id FROM cars) a JOIN devices d ON d.estate_id = a.estate_id AND d.kind = 'gate'
    JOIN mounts m ON m.device_id = d.id AND coalesce(m.building_id, a.building_id) = a.building_id
), passed AS (
    SELECT g.estate_id, g.building_id, g.gate, (e.at AT TIME ZONE %(zone)s) AS local, (e.at AT TIME ZONE %(zone)s)::date AS day,
           e.data ->> 'plate' AS plate, e.data ->> 'direction' AS direction
    FROM gates g JOIN events e ON e.device_id = g.gate AND e.at >= g.valid_from AND (g.valid_to IS NULL OR e.at < g.valid_to)
    WHERE e.kind = 'plate' AND e.at >= %(low)s AND e.at < %(high)s AND e.recorded_at <= %(known)s
), heard AS (
    SELECT p.estate_id, p.building_id, p.day FROM passed p GROUP BY 1, 2, 3
    HAVING count(DISTINCT p.gate) = (SELECT count(DISTINCT g.gate) FROM gates g
        WHERE g.estate_id = p.estate_id AND g.building_id = p.building_id
          AND (g.valid_from AT TIME ZONE %(zone)s)::date <= p.day
          AND (g.valid_to IS NULL OR (g.valid_to AT TIME ZONE %(zone)s)::date >= p.day))
), seen AS (
    SELECT estate_id, building_id, plate, day,
           (array_agg(direction ORDER BY local))[1] = 'out' AND min(local)::time < '10:00'
           OR (array_agg(direction ORDER BY local DESC))[1] IS DISTINCT FROM 'out' AND max(local)::time >= '18:00' AS night
    FROM passed GROUP BY 1, 2, 3, 4
)
SELECT c.unit_id, h.day - date '2000-01-01', count(s.plate)::integer, count(*) FILTER (WHERE s.night)::integer
FROM cars c JOIN heard h ON h.estate_id = c.estate_id AND h.building_id = c.building_id
    AND h.day >= c.since AND (c.until IS NULL OR h.day <= c.until)
LEFT JOIN seen s ON s.estate_id = c.estate_id AND s.building_id = c.building_id AND s.day = h.day AND s.plate = c.code
GROUP BY c.unit_id, h.day
"""


def doors_of(connection: Connection, units: list[int]) -> list[tuple[int, int, int | None]]:
    """List the doors that units go through, their own and their entrance's: the unit, the door, and one of its points (None: it has none)."""
    return (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "SELECT DISTINCT a.unit_id, a.device_id, p.id FROM (SELECT unit_id, device_id FROM mounts WHERE unit_id = ANY(%(units)s) "
            "UNION ALL SELECT u.id, m.device_id FROM units u JOIN mounts m ON m.entrance_id = u.entrance_id WHERE u.id = ANY(%(units)s)) a "
            "JOIN devices d ON d.id = a.device_id AND d.kind = 'door' LEFT JOIN points p ON p.device_id = d.id",
            {"units": units},
        )
        .fetchall()
    )


def passage_days(
    connection: Connection,
    doors: list[int],
    low: datetime,
    high: datetime,
    zone: str,
    known_at: datetime,
) -> list[tuple[int, int]]:
    """List the (door, local day from 2000-01-01) pairs on which anybody came to a door, whether or not it opened."""
    return (
        connection.cursor(row_factory=tuple_row)
        .execute(
            "SELECT DISTINCT device_id, (at AT TIME ZONE %s)::date - date '2000-01-01' FROM events WHERE device_id = ANY(%s) "
            "AND at >= %s AND at < %s AND recorded_at <= %s AND kind = 'passage'",
            [zone, doors, low, min(high, known_at), known_at],
        )
        .fetchall()
    )
