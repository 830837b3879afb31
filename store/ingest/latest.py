"""The latest value of every point, by the device's own clock.

A value that comes late or again never replaces a newer one. A worker collects what is new and
writes it every few seconds, so that it costs next to nothing. What a kill took is in the series all
the same, and the next value of the point makes up for it.
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
    """Write the values of points where they are newer than what is there.

    The columns have one length, `at` is ms UTC, and each point stands in them at most once.
    """
    connection.execute(_MAKE_STAGE)
    copy_in(connection, _COPY_STAGE, ("int4", "ms", "float8"), (point, at, value))
    connection.execute(_MERGE_STAGE)


_MAKE_STAGE = """
    CREATE TEMP TABLE IF NOT EXISTS staged_latest (
        point_id integer,
        at timestamptz,
        value double precision
    ) ON COMMIT DELETE ROWS
"""

_COPY_STAGE = "COPY staged_latest FROM STDIN (FORMAT binary)"

_MERGE_STAGE = """
    INSERT INTO latest_values AS l (point_id, at, value)
    SELECT point_id, at, value
    FROM staged_latest
    ORDER BY point_id
    ON CONFLICT (point_id) DO UPDATE
    SET at = excluded.at, value = excluded.value
    WHERE excluded.at > l.at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardDevice:
    """A device, and the instant of its newest value by its own clock; None where it has none."""

    device: str
    kind: str
    profile: str
    heard_at: datetime | None


def list_heard(
    connection: Connection,
    scope: tuple[int, ...],
    estate: str,
    gateway: str,
    *,
    after: str | None = None,
    limit: int = 200,
) -> list[HeardDevice]:
    """List the devices of a gateway by code, those behind the code `after`.

    `scope` holds the ids of the estates that the reader may see. Values are left out: they are a
    home's.
    """
    with connection.cursor(row_factory=class_row(HeardDevice)) as cursor:
        values = [after, limit, estate, gateway, list(scope)]
        return cursor.execute(_LIST_HEARD, values).fetchall()


_LIST_HEARD = """
    SELECT d.code AS device, d.kind, d.profile, h.last_received_at AS heard_at
    FROM gateways g
    JOIN estates e ON e.id = g.estate_id
    CROSS JOIN LATERAL gateway_device_last_received(g.id, %s, %s) h
    JOIN devices d ON d.id = h.device_id
    WHERE e.code = %s
      AND g.code = %s
      AND e.id = ANY(%s)
    ORDER BY d.code
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestValue:
    """The newest value of a point, in the point's unit of measure."""

    device: str
    point: str
    at: datetime
    value: float


def list_of_unit(connection: Connection, unit_id: int) -> list[LatestValue]:
    """List the newest value of every point of the devices that are mounted in a unit now."""
    with connection.cursor(row_factory=class_row(LatestValue)) as cursor:
        return cursor.execute(_LIST_OF_UNIT, [unit_id]).fetchall()


_LIST_OF_UNIT = """
    SELECT device, point, at, value
    FROM latest_of_unit(%s)
"""
