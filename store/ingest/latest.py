"""The latest value of every point, by the device's own clock: a value that comes late or again never replaces a newer one.

A worker collects what is new and writes it every few seconds, so that it costs next to nothing; what a kill took is in the
series all the same, and the next value of the point makes it good.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDevice:
    """A device behind a gateway; `heard_at` is None where it has never sent a value."""

    device: str
    kind: str
    profile: str
    heard_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestValue:
    """The newest value of a point, by the device's own clock."""

    device: str
    point: str
    at: datetime
    value: float


def list_gateway_devices(
    connection: Connection,
    scope: tuple[int, ...],
    estate: str,
    gateway: str,
    *,
    after: str | None = None,
    limit: int = 200,
) -> list[GatewayDevice]:
    """List a gateway's devices by code, those after a code, with when each last sent a value.

    The values themselves are left out: they belong to a home.
    """
    values = {
        "after": after,
        "limit": limit,
        "estate": estate,
        "gateway": gateway,
        "estates": list(scope),
    }
    with connection.cursor(row_factory=class_row(GatewayDevice)) as cursor:
        return cursor.execute(_LIST_GATEWAY_DEVICES, values).fetchall()


_LIST_GATEWAY_DEVICES = """
    SELECT d.code AS device, d.kind, d.profile, r.last_received_at AS heard_at
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    CROSS JOIN LATERAL gateway_device_last_received(g.id, %(after)s, %(limit)s) r
    JOIN devices d ON d.id = r.device_id
    WHERE e.code = %(estate)s
      AND g.code = %(gateway)s
      AND e.id = ANY(%(estates)s)
    ORDER BY d.code
"""


def list_unit_values(connection: Connection, unit_id: int) -> list[LatestValue]:
    """List the newest value of every point of the devices that are mounted in a unit now."""
    with connection.cursor(row_factory=class_row(LatestValue)) as cursor:
        return cursor.execute(
            "SELECT device, point, at, value FROM latest_of_unit(%s)", [unit_id]
        ).fetchall()
