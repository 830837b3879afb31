"""The latest value of every point, by the device's own clock: a value that comes late or again never replaces a newer one.

A worker collects what is new and writes it every few seconds, so that it costs next to nothing; what a kill took is in the
series all the same, and the next value of the point makes it good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.connect import Connection
from store.copying import copy_in


def keep_latest(
    connection: Connection, point: NDArray[np.int32], at: NDArray[np.int64], value: NDArray[np.float64]
) -> None:
    """Write the values of points (each at most once in the columns) where they are newer than what is there."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_latest (point_id integer, at timestamptz, value double precision) ON COMMIT DELETE ROWS"
    )
    copy_in(connection, "COPY staged_latest FROM STDIN (FORMAT binary)", ("int4", "ms", "float8"), (point, at, value))
    connection.execute(
        "INSERT INTO latest_values AS l SELECT point_id, at, value FROM staged_latest ORDER BY point_id "
        "ON CONFLICT (point_id) DO UPDATE SET at = excluded.at, value = excluded.value WHERE excluded.at > l.at"
    )


def list_heard(connection: Connection, scope: tuple[int, ...], estate: str, gateway: str) -> list[dict[str, Any]]:
    """List a gateway's devices with the instant of their newest value, by their own clock; no values, which are a home's."""
    return connection.execute(
        "SELECT d.code AS device, d.kind, d.profile, max(l.at) AS heard_at FROM devices d JOIN gateways g ON g.id = d.gateway_id "
        "JOIN estates e ON e.id = d.estate_id LEFT JOIN points p ON p.device_id = d.id LEFT JOIN latest_values l ON l.point_id = p.id "
        "WHERE e.code = %s AND g.code = %s AND e.id = ANY(%s) AND d.retired_on IS NULL GROUP BY d.id ORDER BY d.code",
        [estate, gateway, list(scope)],
    ).fetchall()


def list_of_unit(connection: Connection, unit_id: int) -> list[dict[str, Any]]:
    """List the newest value of every point of the devices that are mounted in a unit now."""
    return connection.execute(
        "SELECT d.code AS device, p.name AS point, l.at, l.value FROM mounts m JOIN devices d ON d.id = m.device_id "
        "JOIN points p ON p.device_id = d.id JOIN latest_values l ON l.point_id = p.id "
        "WHERE m.unit_id = %s AND m.valid_from <= now() AND (m.valid_to IS NULL OR m.valid_to > now()) ORDER BY d.code, p.name",
        [unit_id],
    ).fetchall()
