"""Estates, gateways and units of the register, always within a scope of estates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row, scalar_row

from store.database.connection import Connection

#: The ids of the estates that a principal may see.
Scope = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EstateSummary:
    """An estate with the numbers of what stands in it. `jurisdiction` is a name."""

    code: str
    name: str
    programme: str
    timezone: str
    jurisdiction: str | None
    units: int
    open_alerts: int
    gateways_online: int
    gateways: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatus:
    """A gateway with the last state it reported; None where it has not reported.

    `clock_offset_ms` is by its own measure, `skew_ms` by the server's. `lost` counts the messages
    that its full outbox has dropped.
    """

    code: str
    online: bool
    state_at: datetime | None
    heard_at: datetime | None
    clock_offset_ms: int | None
    outbox: int | None
    lost: int | None
    boot: str | None
    best_effort: bool
    devices: int
    skew_ms: int | None
    open_gaps: int
    certificate_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSummary:
    """A unit with the codes of its entrance and building, and whether it is let today."""

    code: str
    floor: int | None
    area_m2: float | None
    entrance: str | None
    building: str | None
    let: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredEstate:
    """An estate of the register."""

    id: int
    code: str
    name: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredUnit:
    """A unit of the register, with its estate's code and time zone."""

    id: int
    code: str
    estate_id: int
    estate: str
    timezone: str
    floor: int | None
    area_m2: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReading:
    """A value of one point at an instant, from a device by its code."""

    at: datetime
    device: str
    value: float


def list_estates(connection: Connection, scope: Scope) -> list[EstateSummary]:
    """List estates by code."""
    with connection.cursor(row_factory=class_row(EstateSummary)) as cursor:
        return cursor.execute(_LIST_ESTATES, {"estates": list(scope)}).fetchall()


_LIST_ESTATES = """
    SELECT
        e.code,
        e.name,
        e.programme,
        e.timezone,
        j.name AS jurisdiction,
        coalesce(c.units, 0) AS units,
        (
            SELECT count(*)
            FROM alerts a
            WHERE a.estate_id = e.id AND a.ended_at IS NULL
        ) AS open_alerts,
        (
            SELECT count(*)
            FROM gateway_state s
            JOIN gateways g ON g.id = s.gateway_id
            WHERE g.estate_id = e.id AND s.online
        ) AS gateways_online,
        (
            SELECT count(*)
            FROM gateways g
            WHERE g.estate_id = e.id AND g.retired_on IS NULL
        ) AS gateways
    FROM estates e
    LEFT JOIN jurisdictions j ON j.id = e.jurisdiction_id
    LEFT JOIN unit_counts(%(estates)s) c ON c.estate_id = e.id
    WHERE e.id = ANY(%(estates)s)
    ORDER BY e.code
"""


def list_gateways(connection: Connection, scope: Scope, estate: str) -> list[GatewayStatus]:
    """List an estate's gateways that are in use, by code."""
    values = {"estate": estate, "estates": list(scope)}
    with connection.cursor(row_factory=class_row(GatewayStatus)) as cursor:
        return cursor.execute(_LIST_GATEWAYS, values).fetchall()


_LIST_GATEWAYS = """
    SELECT
        g.code,
        coalesce(s.online, false) AS online,
        s.at AS state_at,
        s.received_at AS heard_at,
        s.clock_offset_ms,
        s.outbox,
        s.lost,
        s.boot,
        coalesce(s.best_effort, false) AS best_effort,
        (
            SELECT count(*)
            FROM devices d
            WHERE d.gateway_id = g.id AND d.retired_on IS NULL
        ) AS devices,
        s.skew_ms,
        (
            SELECT count(*)
            FROM gaps p
            WHERE p.gateway_id = g.id
        ) AS open_gaps,
        (
            SELECT max(c.valid_to)
            FROM gateway_certificates c
            WHERE c.gateway_id = g.id AND c.revoked_at IS NULL
        ) AS certificate_until
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    LEFT JOIN gateway_state s ON s.gateway_id = g.id
    WHERE e.code = %(estate)s
      AND e.id = ANY(%(estates)s)
      AND g.retired_on IS NULL
    ORDER BY g.code
"""


def list_units(
    connection: Connection, scope: Scope, estate: str, *, after: str | None = None, limit: int
) -> list[UnitSummary]:
    """List an estate's units by code, those after a code."""
    values = {"estate": estate, "estates": list(scope), "after": after, "limit": limit}
    with connection.cursor(row_factory=class_row(UnitSummary)) as cursor:
        return cursor.execute(_LIST_UNITS, values).fetchall()


_LIST_UNITS = """
    SELECT
        u.code,
        u.floor,
        u.area_m2,
        n.code AS entrance,
        b.code AS building,
        EXISTS (
            SELECT
            FROM tenancies t
            WHERE t.unit_id = u.id
              AND t.valid_from <= current_date
              AND (t.valid_to IS NULL OR t.valid_to >= current_date)
        ) AS let
    FROM units u
    JOIN estates e ON e.id = u.estate_id
    LEFT JOIN entrances n ON n.id = u.entrance_id
    LEFT JOIN buildings b ON b.id = n.building_id
    WHERE e.code = %(estate)s
      AND e.id = ANY(%(estates)s)
      AND (%(after)s::text IS NULL OR u.code > %(after)s)
    ORDER BY u.code
    LIMIT %(limit)s
"""


def find_estate(connection: Connection, scope: Scope, estate: str) -> RegisteredEstate | None:
    """Find an estate by its code; None where the scope has none of that code."""
    with connection.cursor(row_factory=class_row(RegisteredEstate)) as cursor:
        return cursor.execute(_FIND_ESTATE, [estate, list(scope)]).fetchone()


_FIND_ESTATE = """
    SELECT id, code, name, timezone
    FROM estates
    WHERE code = %s
      AND id = ANY(%s)
"""


def find_unit(
    connection: Connection, scope: Scope, estate: str, unit: str
) -> RegisteredUnit | None:
    """Find a unit by its estate's code and its own; None where the scope has no such unit."""
    with connection.cursor(row_factory=class_row(RegisteredUnit)) as cursor:
        return cursor.execute(_FIND_UNIT, [estate, unit, list(scope)]).fetchone()


_FIND_UNIT = """
    SELECT u.id, u.code, u.estate_id, e.code AS estate, e.timezone, u.floor, u.area_m2
    FROM units u
    JOIN estates e ON e.id = u.estate_id
    WHERE e.code = %s
      AND u.code = %s
      AND e.id = ANY(%s)
"""


def list_unit_readings(
    connection: Connection,
    unit_id: int,
    point: str,
    *,
    from_at: datetime,
    to_at: datetime,
    limit: int,
) -> list[UnitReading]:
    """List a unit's values of one point over [from_at, to_at), oldest first.

    They come from every device of the unit, over the time that it was mounted there.
    """
    with connection.cursor(row_factory=class_row(UnitReading)) as cursor:
        return cursor.execute(
            "SELECT at, device, value FROM readings_of_unit(%s, %s, %s, %s, %s)",
            [unit_id, point, from_at, to_at, limit],
        ).fetchall()


def estate_ids(connection: Connection) -> Scope:
    """Return the ids of all estates: the scope of the system itself."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return tuple(cursor.execute("SELECT id FROM estates ORDER BY id"))


def unit_codes(connection: Connection, units: list[int]) -> dict[int, str]:
    """Return the codes of units by id."""
    rows = connection.execute("SELECT id, code FROM units WHERE id = ANY(%s)", [units])
    return {row["id"]: row["code"] for row in rows}
