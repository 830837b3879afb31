"""Unit-day facts: what is dirty, the meters behind it, and the dense frames that detectors read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import tuple_row

from store.connect import Connection

#: Numeric columns of unit_days, in the order in which they are written and read.
NUMBERS = (
    "energy_kwh", "energy_cover", "energy_floor_w", "energy_peak_w", "water_l", "water_cover", "water_trickle_l",
    "water_least_l_h", "energy_samples", "water_samples", "entries", "exits", "residents_seen", "strangers_seen",
)  # fmt: skip
INSTANTS = ("water_first_use_at", "water_last_use_at", "water_first_still_at", "water_last_still_at")
_WHOLE = frozenset({"energy_samples", "water_samples", "entries", "exits", "residents_seen", "strangers_seen"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
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


#: Dirty rows (a batch of one estate each) that one look takes.
SPANS_AT_ONCE = 2_000


def take_dirty(connection: Connection, estate_id: int, limit: int = SPANS_AT_ONCE) -> tuple[list[int], list[DirtyUnit]]:
    """Find what changed in an estate: the ids of the rows read, and per unit the whole span that changed.

    A door's span touches every unit of its entrance, since a passage there belongs to whoever lives behind it.
    """
    rows = connection.execute(
        "SELECT id FROM dirty_spans WHERE estate_id = %s ORDER BY id LIMIT %s", [estate_id, limit]
    ).fetchall()
    ids = [row["id"] for row in rows]
    units = connection.execute(
        "WITH spans AS (SELECT d.device_id, min(d.from_ms) AS from_ms, max(d.to_ms) AS to_ms FROM dirty_spans s, "
        "unnest(s.devices, s.from_ms, s.to_ms) AS d (device_id, from_ms, to_ms) WHERE s.id = ANY(%s) GROUP BY d.device_id) "
        "SELECT u.id AS unit_id, to_timestamp(min(s.from_ms) / 1000.0) AS from_at, to_timestamp(max(s.to_ms) / 1000.0) AS to_at "
        "FROM spans s JOIN mounts m ON m.device_id = s.device_id "
        "JOIN units u ON u.id = m.unit_id OR (m.unit_id IS NULL AND u.entrance_id = m.entrance_id) GROUP BY u.id ORDER BY u.id",
        [ids],
    ).fetchall()
    return ids, [DirtyUnit(estate_id=estate_id, **row) for row in units]


def clear_dirty(connection: Connection, ids: list[int]) -> None:
    """Note that spans have been worked into the facts."""
    connection.execute("DELETE FROM dirty_spans WHERE id = ANY(%s)", [ids])


def dirty_estates(connection: Connection) -> list[tuple[int, str, str]]:
    """List the estates (id, code, time zone) that have dirty spans."""
    rows = connection.execute(
        "SELECT id, code, timezone FROM estates WHERE id IN (SELECT estate_id FROM dirty_spans) ORDER BY id"
    )
    return [(row["id"], row["code"], row["timezone"]) for row in rows]


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
        "WHERE EXISTS (SELECT FROM units u JOIN unit_days d ON d.unit_id = u.id WHERE u.estate_id = e.id)"
    )
    return [(row["id"], row["timezone"]) for row in rows if row["day"] is None or row["day"] < today[row["timezone"]]]


def estate_zones(connection: Connection) -> list[str]:
    """List the time zones in use."""
    return [row["timezone"] for row in connection.execute("SELECT DISTINCT timezone FROM estates")]


def note_judged(connection: Connection, estate_id: int, day: date) -> None:
    """Note that all units of an estate have been judged on a local day."""
    connection.execute(
        "INSERT INTO judged_days VALUES (%s, %s) ON CONFLICT (estate_id) DO UPDATE SET day = excluded.day",
        [estate_id, day],
    )


def units_with_facts(connection: Connection, estate_id: int) -> list[int]:
    """List the units of an estate that have facts."""
    rows = connection.execute(
        "SELECT u.id FROM units u WHERE u.estate_id = %s AND EXISTS (SELECT FROM unit_days d WHERE d.unit_id = u.id) "
        "ORDER BY u.id",
        [estate_id],
    )
    return [row["id"] for row in rows]


def meters_of(connection: Connection, units: list[int], names: list[str]) -> list[Meter]:
    """List the register points of units, with the time for which each was mounted."""
    rows = connection.execute(
        "SELECT m.unit_id, d.id AS device_id, p.id AS point_id, p.name AS point, d.profile, "
        "(extract(epoch FROM m.valid_from) * 1000)::bigint AS from_ms, (extract(epoch FROM m.valid_to) * 1000)::bigint AS to_ms "
        "FROM mounts m JOIN devices d ON d.id = m.device_id JOIN points p ON p.device_id = d.id "
        "WHERE m.unit_id = ANY(%s) AND p.name = ANY(%s) ORDER BY m.unit_id, p.id",
        [units, names],
    )
    return [Meter(**row) for row in rows]


def neighbour_days(
    connection: Connection, spans: dict[int, tuple[date, date]], depth: int
) -> dict[int, tuple[date, date]]:
    """Widen each unit's span of days so that every supply has `depth` further days with readings on either side.

    An interval reaches from one reading to the next, over days on which a meter was silent; what changed on one day
    changes the facts of all the days up to its neighbours. Units with no further readings keep their span.
    """
    rows = connection.execute(
        """
        SELECT s.unit_id,
            (SELECT least(
                (SELECT min(day) FROM (SELECT day FROM unit_days WHERE unit_id = s.unit_id AND day < s.low
                    AND water_samples > 0 ORDER BY day DESC LIMIT %(n)s) w),
                (SELECT min(day) FROM (SELECT day FROM unit_days WHERE unit_id = s.unit_id AND day < s.low
                    AND energy_samples > 0 ORDER BY day DESC LIMIT %(n)s) e))) AS before,
            (SELECT greatest(
                (SELECT max(day) FROM (SELECT day FROM unit_days WHERE unit_id = s.unit_id AND day > s.high
                    AND water_samples > 0 ORDER BY day LIMIT %(n)s) w),
                (SELECT max(day) FROM (SELECT day FROM unit_days WHERE unit_id = s.unit_id AND day > s.high
                    AND energy_samples > 0 ORDER BY day LIMIT %(n)s) e))) AS after
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
        row["unit_id"]: (row["before"] or spans[row["unit_id"]][0], row["after"] or spans[row["unit_id"]][1])
        for row in rows
    }


def passages(
    connection: Connection, units: list[int], low: datetime, high: datetime, zone: str
) -> list[dict[str, Any]]:
    """Count granted passages per unit and local day: by the door of the unit itself, or by whose token it was.

    A token belongs to a resident, or to the credential of one, whose household holds the unit at that time. At a
    unit's own door a token of nobody in the household is a stranger's; at an entrance it says nothing of one unit.
    """
    return connection.execute(
        """
        WITH seen AS (
            SELECT e.at, (e.at AT TIME ZONE %(zone)s)::date AS day, m.unit_id AS door_unit, r.household_id,
                   e.data ->> 'direction' AS direction, coalesce(e.data ->> 'person', e.data ->> 'credential') AS token
            FROM events e
            JOIN mounts m ON m.device_id = e.device_id AND e.at >= m.valid_from AND (m.valid_to IS NULL OR e.at < m.valid_to)
            LEFT JOIN credentials c ON c.code = e.data ->> 'credential'
            LEFT JOIN residents r ON r.code = e.data ->> 'person' OR r.id = c.resident_id
            WHERE e.at >= %(low)s AND e.at < %(high)s AND e.kind = 'passage' AND e.data ->> 'outcome' = 'granted'
              AND (m.unit_id = ANY(%(units)s)
                   OR m.entrance_id IN (SELECT entrance_id FROM units WHERE id = ANY(%(units)s)))
        ), owned AS (
            SELECT s.*, coalesce(s.door_unit, t.unit_id) AS unit_id, t.unit_id IS NOT NULL AND
                   (s.door_unit IS NULL OR s.door_unit = t.unit_id) AS registered
            FROM seen s
            LEFT JOIN tenancies t ON t.household_id = s.household_id AND s.day >= t.valid_from
                                 AND (t.valid_to IS NULL OR s.day <= t.valid_to)
        )
        SELECT unit_id, day, count(*) FILTER (WHERE direction IS DISTINCT FROM 'out') AS entries,
               count(*) FILTER (WHERE direction = 'out') AS exits,
               count(DISTINCT token) FILTER (WHERE registered) AS residents_seen,
               count(DISTINCT token) FILTER (WHERE NOT registered) AS strangers_seen
        FROM owned WHERE unit_id = ANY(%(units)s) GROUP BY unit_id, day
        """,
        {"zone": zone, "low": low, "high": high, "units": units},
    ).fetchall()


def door_days(
    connection: Connection, units: list[int], low: datetime, high: datetime, zone: str
) -> set[tuple[int, date]]:
    """List the (unit, local day) pairs on which a door that the unit goes through said anything at all.

    Where no door spoke, nobody knows who came: the counts of that day are unknown and not zero.
    """
    rows = connection.execute(
        "WITH alive AS (SELECT DISTINCT e.device_id, (e.at AT TIME ZONE %(zone)s)::date AS day FROM events e "
        "WHERE e.at >= %(low)s AND e.at < %(high)s AND e.kind = 'passage') "
        "SELECT DISTINCT u.id AS unit_id, a.day FROM alive a JOIN mounts m ON m.device_id = a.device_id "
        "JOIN units u ON u.id = m.unit_id OR (m.unit_id IS NULL AND u.entrance_id = m.entrance_id) "
        "WHERE u.id = ANY(%(units)s)",
        {"zone": zone, "low": low, "high": high, "units": units},
    )
    return {(row["unit_id"], row["day"]) for row in rows}


def save_days(connection: Connection, rows: list[dict[str, Any]], units: list[int], first: date, last: date) -> None:
    """Replace the facts of units between two days, both included, with `rows`."""
    connection.execute("DELETE FROM unit_days WHERE unit_id = ANY(%s) AND day BETWEEN %s AND %s", [units, first, last])
    names = ("unit_id", "day", *NUMBERS, *INSTANTS, "faults")
    types = ["int4", "date", *("int4" if n in _WHOLE else "float4" for n in NUMBERS), *["timestamptz"] * 4, "text[]"]
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY unit_days (unit_id, day, energy_kwh, energy_cover, energy_floor_w, energy_peak_w, water_l, water_cover, "
            "water_trickle_l, water_least_l_h, energy_samples, water_samples, entries, exits, residents_seen, strangers_seen, water_first_use_at, "
            "water_last_use_at, water_first_still_at, water_last_still_at, faults) FROM STDIN (FORMAT binary)"
        ) as stream,
    ):
        stream.set_types(types)
        for row in rows:
            stream.write_row([row[name] for name in names])


def load_columns(connection: Connection, units: list[int], first: date, days: int) -> dict[str, NDArray[np.float64]]:
    """Read the facts of units over `days` days from `first` as arrays of shape (units, days); NaN is "not known".

    Instants come as float milliseconds UTC, which are exact below 2^53.
    """
    names = (*NUMBERS, *INSTANTS)
    index = {unit: i for i, unit in enumerate(units)}
    columns = {name: np.full((len(units), days), np.nan) for name in names}
    rows = (
        connection.cursor(row_factory=tuple_row)
        .execute(
            sql.SQL(
                "SELECT unit_id, day - %s::date, {numbers}, {instants} FROM unit_days WHERE unit_id = ANY(%s) "
                "AND day >= %s AND day < %s::date + %s"
            ).format(
                numbers=sql.SQL(", ").join(map(sql.Identifier, NUMBERS)),
                instants=sql.SQL(", ").join(
                    sql.SQL("(extract(epoch FROM {}) * 1000)::float8").format(sql.Identifier(name)) for name in INSTANTS
                ),
            ),
            [first, units, first, first, days],
        )
        .fetchall()
    )
    if rows:
        table = np.array(rows, dtype=np.float64)
        i = np.array([index[int(unit)] for unit in table[:, 0]])
        j = table[:, 1].astype(np.int64)
        for k, name in enumerate(names):
            columns[name][i, j] = table[:, 2 + k]
    return columns


def span_of(connection: Connection, units: list[int]) -> tuple[date, date] | None:
    """Return the first and last day for which units have facts."""
    row = connection.execute(
        "SELECT min(day) AS first, max(day) AS last FROM unit_days WHERE unit_id = ANY(%s)", [units]
    ).fetchone()
    return (row["first"], row["last"]) if row and row["first"] else None


def list_unit_days(connection: Connection, unit_id: int, first: date, last: date) -> list[dict[str, Any]]:
    """Read one unit's facts between two days, for a chart or an answer."""
    return connection.execute(
        "SELECT * FROM unit_days WHERE unit_id = %s AND day BETWEEN %s AND %s ORDER BY day", [unit_id, first, last]
    ).fetchall()


def declared_spans(connection: Connection, units: list[int]) -> list[dict[str, Any]]:
    """List what has been declared for units, and when their tenancies ran: unit_id, kind, valid_from, valid_to."""
    return connection.execute(
        "SELECT unit_id, kind, valid_from, valid_to FROM declarations WHERE unit_id = ANY(%s) UNION ALL "
        "SELECT unit_id, 'tenancy', valid_from, valid_to FROM tenancies WHERE unit_id = ANY(%s) ORDER BY 1, 3",
        [units, units],
    ).fetchall()
