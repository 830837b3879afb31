"""The latest value of every point, by the device's own clock: a value that comes late or again never replaces a newer one.

A worker collects what is new and writes it every few seconds, so that it costs next to nothing; what a kill took is in the
series all the same, and the next value of the point makes it good.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.database.connection import Connection
from store.database.copy import copy_in


def keep_latest(
    connection: Connection,
    point: NDArray[np.int32],
    at: NDArray[np.int64],
    value: NDArray[np.float64],
) -> None:
    """Write the values of points (each at most once in the columns) where they are newer than what is there."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_latest (point_id integer, at timestamptz, value double precision) ON COMMIT DELETE ROWS"
    )
    copy_in(
        connection,
        "COPY staged_latest FROM STDIN (FORMAT binary)",
        ("int4", "ms", "float8"),
        (point, at, value),
    )
    connection.execute(
        "INSERT INTO latest_values AS l SELECT point_id, at, value FROM staged_latest ORDER BY point_id "
        "ON CONFLICT (point_id) DO UPDATE SET at = excluded.at, value = excluded.value WHERE excluded.at > l.at"
    )


def list_heard(
    connection: Connection,
    scope: tuple[int, ...],
    estate: str,
    gateway: str,
    after: str | None = None,
    limit: int = 200,
) -> list[dict[str, Any]]:
    """List a gateway's devices by code with the instant of their newest value, by their own clock; no values, which are a home's."""
    return connection.execute(
        "SELECT d.code AS device, d.kind, d.profile, h.last_received_at AS heard_at FROM gateways g JOIN estates e ON e.id = g.estate_id "
        "CROSS JOIN LATERAL gateway_device_last_received(g.id, %s, %s) h JOIN devices d ON d.id = h.device_id "
        "WHERE e.code = %s AND g.code = %s AND e.id = ANY(%s) ORDER BY d.code",
        [after, limit, estate, gateway, list(scope)],
    ).fetchall()


def list_of_unit(connection: Connection, unit_id: int) -> list[dict[str, Any]]:
    """List the newest value of every point of the devices that are mounted in a unit now."""
    return connection.execute("SELECT * FROM latest_of_unit(%s)", [unit_id]).fetchall()
