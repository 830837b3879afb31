"""Estates and units as the API answers them, always within a scope of estates."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from store.database.connection import Connection

Scope = tuple[int, ...]


def list_estates(connection: Connection, scope: Scope) -> list[dict[str, Any]]:
    """List estates with the number of their units, open alerts and gateways."""
    return connection.execute(
        "SELECT e.code, e.name, e.programme, e.timezone, j.name AS jurisdiction, coalesce(h.units, 0) AS units, "
        "(SELECT count(*) FROM alerts a WHERE a.estate_id = e.id AND a.ended_at IS NULL) AS open_alerts, "
        "(SELECT count(*) FROM gateway_state s JOIN gateways g ON g.id = s.gateway_id WHERE g.estate_id = e.id AND s.online) "
        "AS gateways_online, (SELECT count(*) FROM gateways g WHERE g.estate_id = e.id AND g.retired_on IS NULL) AS gateways "
        "FROM estates e LEFT JOIN jurisdictions j ON j.id = e.jurisdiction_id LEFT JOIN unit_counts(%(estates)s) h ON h.estate_id = e.id "
        "WHERE e.id = ANY(%(estates)s) ORDER BY e.code",
        {"estates": list(scope)},
    ).fetchall()


def list_gateways(connection: Connection, scope: Scope, estate: str) -> list[dict[str, Any]]:
    """List an estate's gateways with what they last told of themselves, and what of theirs is missing."""
    return connection.execute(
        "SELECT g.code, coalesce(s.online, false) AS online, s.at AS state_at, s.received_at AS heard_at, s.clock_offset_ms, s.outbox, s.lost, s.boot, "
        "coalesce(s.best_effort, false) AS best_effort, "
        "(SELECT count(*) FROM devices d WHERE d.gateway_id = g.id AND d.retired_on IS NULL) AS devices, "
        "s.skew_ms, (SELECT count(*) FROM gaps p WHERE p.gateway_id = g.id) AS open_gaps, "
        "(SELECT max(c.valid_to) FROM gateway_certificates c WHERE c.gateway_id = g.id AND c.revoked_at IS NULL) AS certificate_until "
        "FROM gateways g JOIN estates e ON e.id = g.estate_id LEFT JOIN gateway_state s ON s.gateway_id = g.id "
        "WHERE e.code = %s AND e.id = ANY(%s) AND g.retired_on IS NULL ORDER BY g.code",
        [estate, list(scope)],
    ).fetchall()


def list_units(
    connection: Connection, scope: Scope, estate: str, after: str | None, limit: int
) -> list[dict[str, Any]]:
    """List an estate's units by code, paged by code."""
    return connection.execute(
        "SELECT u.code, u.floor, u.area_m2, n.code AS entrance, b.code AS building, EXISTS (SELECT FROM tenancies t "
        "WHERE t.unit_id = u.id AND t.valid_from <= current_date AND (t.valid_to IS NULL OR t.valid_to >= current_date)) AS let "
        "FROM units u JOIN estates e ON e.id = u.estate_id LEFT JOIN entrances n ON n.id = u.entrance_id "
        "LEFT JOIN buildings b ON b.id = n.building_id WHERE e.code = %s AND e.id = ANY(%s) AND (%s::text IS NULL OR u.code > %s) "
        "ORDER BY u.code LIMIT %s",
        [estate, list(scope), after, after, limit],
    ).fetchall()


def find_estate(connection: Connection, scope: Scope, estate: str) -> dict[str, Any] | None:
    """Find an estate by its code."""
    return connection.execute(
        "SELECT * FROM estates WHERE code = %s AND id = ANY(%s)", [estate, list(scope)]
    ).fetchone()


def find_unit(
    connection: Connection, scope: Scope, estate: str, unit: str
) -> dict[str, Any] | None:
    """Find a unit by its estate's code and its own."""
    return connection.execute(
        "SELECT u.*, e.code AS estate, e.timezone FROM units u JOIN estates e ON e.id = u.estate_id "
        "WHERE e.code = %s AND u.code = %s AND e.id = ANY(%s)",
        [estate, unit, list(scope)],
    ).fetchone()


def unit_readings(
    connection: Connection, unit_id: int, point: str, low: datetime, high: datetime, limit: int
) -> list[dict[str, Any]]:
    """Read a unit's values of one point over [low, high), oldest first, from every meter while it was mounted there."""
    return connection.execute(
        "SELECT * FROM readings_of_unit(%s, %s, %s, %s, %s)", [unit_id, point, low, high, limit]
    ).fetchall()


def estate_ids(connection: Connection) -> Scope:
    """Return every estate: the scope of the system itself."""
    return tuple(row["id"] for row in connection.execute("SELECT id FROM estates ORDER BY id"))


def unit_codes(connection: Connection, units: list[int]) -> dict[int, str]:
    """Return the codes of units by id."""
    return {
        row["id"]: row["code"]
        for row in connection.execute("SELECT id, code FROM units WHERE id = ANY(%s)", [units])
    }
