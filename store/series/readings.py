"""Readings and events: written exactly once, read back as columns.

Readings go in by binary COPY straight into the table. A batch that meets a key that is there
already fails as a whole, and is written again by merging. Then an equal value is a duplicate and a
different one a conflict. The same key with another value is never swallowed: it comes back to the
caller, who quarantines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.calendar import from_ms
from store.database.connection import Connection, DuplicateKey
from store.database.copy import copy_in, copy_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingColumns:
    """Readings as columns of one length."""

    #: ms UTC.
    at: NDArray[np.int64]
    #: Ids of points.
    point: NDArray[np.int32]
    #: In the point's unit of measure.
    value: NDArray[np.float64]
    #: How many seconds after `at` each arrived; None where all came as they were taken.
    late_s: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of each row of a batch; a row in neither was there before."""

    #: Rows that are stored now, as a mask of the batch's length.
    fresh: NDArray[np.bool_]
    #: Indices of rows whose key is stored with other content.
    conflicts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event, placed. `received_ms`: when it arrived, ms UTC; None: now."""

    device_id: int
    at_ms: int
    event_id: str
    kind: str
    data: dict[str, Any]
    received_ms: int | None = None


# Readings ------------------------------------------------------------------------------------


def write_readings(
    connection: Connection, batch: ReadingColumns, *, merge: bool = False
) -> Written:
    """Store a batch inside the caller's transaction.

    Raises: DuplicateKey, without `merge`, where any key is stored or stands twice in the batch. The
    transaction is lost, and the batch has to be written again with `merge`. With it, only where
    another worker stored the same key at this moment.
    """
    if merge:
        return _merge(connection, batch)
    # In the order of the key every row goes to the right edge of the index: a third less work for
    # the server.
    order = np.lexsort((batch.point, batch.at))
    columns: list[NDArray[Any]] = [batch.at[order], batch.point[order], batch.value[order]]
    if batch.late_s is None:
        copy_in(connection, _COPY_READINGS, ("ms", "int4", "float8"), columns)
    else:
        columns.append(batch.late_s[order])
        copy_in(connection, _COPY_LATE_READINGS, ("ms", "int4", "float8", "int4"), columns)
    return Written(fresh=np.ones(len(batch), dtype=bool), conflicts=[])


_COPY_READINGS = "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)"
_COPY_LATE_READINGS = "COPY readings (at, point_id, value, late_s) FROM STDIN (FORMAT binary)"


def _merge(connection: Connection, batch: ReadingColumns) -> Written:
    """Store the rows whose keys are new, and compare the others with what is stored.

    Of equal keys within the batch the first to arrive counts, unless the table holds one.
    """
    # lexsort is stable, so that of equal keys the first to arrive comes first.
    order = np.lexsort((batch.point, batch.at))
    at = batch.at[order]
    point = batch.point[order]
    value = batch.value[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (at[1:] != at[:-1]) | (point[1:] != point[:-1])
    keys = np.flatnonzero(is_first)
    _stage(connection, batch, order[keys])
    stored_keys, stored_values = copy_out(
        connection,
        _STORED_OF_STAGED,
        [from_ms(int(at[0])), from_ms(int(at[-1]))],
        ("int4", "float8"),
    )
    inserted = connection.execute(_INSERT_STAGED).rowcount
    if inserted != len(keys) - len(stored_keys):
        raise DuplicateKey("another worker stored the same readings at this moment")
    is_new = np.ones(len(keys), dtype=bool)
    is_new[stored_keys] = False
    kept_value = value[keys].copy()
    kept_value[stored_keys] = stored_values
    key_of_row = np.cumsum(is_first) - 1
    fresh = np.zeros(len(order), dtype=bool)
    fresh[order] = is_first & is_new[key_of_row]
    conflicts = order[value != kept_value[key_of_row]]
    return Written(fresh=fresh, conflicts=[int(row) for row in conflicts])


def _stage(connection: Connection, batch: ReadingColumns, rows: NDArray[np.int64]) -> None:
    """Put some rows of a batch into the staging table, numbered from 0."""
    connection.execute(_MAKE_STAGE)
    connection.execute("TRUNCATE staged_readings")
    numbers = np.arange(len(rows))
    late = np.zeros(len(rows), dtype=np.int32) if batch.late_s is None else batch.late_s[rows]
    copy_in(
        connection,
        "COPY staged_readings FROM STDIN (FORMAT binary)",
        ("int4", "ms", "int4", "float8", "int4"),
        (numbers, batch.at[rows], batch.point[rows], batch.value[rows], late),
    )


_MAKE_STAGE = """
    CREATE TEMP TABLE IF NOT EXISTS staged_readings (
        n integer,
        at timestamptz,
        point_id integer,
        value double precision,
        late_s integer
    ) ON COMMIT DELETE ROWS
"""

# The explicit span lets the planner prune partitions and chunks.
_STORED_OF_STAGED = """
    COPY (
        SELECT s.n, r.value
        FROM staged_readings s
        JOIN readings r ON r.at = s.at AND r.point_id = s.point_id
        WHERE r.at >= %s
          AND r.at <= %s
    ) TO STDOUT (FORMAT binary)
"""

_INSERT_STAGED = """
    INSERT INTO readings (at, point_id, value, late_s)
    SELECT at, point_id, value, nullif(late_s, 0)
    FROM staged_readings
    ON CONFLICT DO NOTHING
"""


def read_readings(
    connection: Connection, points: list[int], low: datetime, high: datetime, known_at: datetime
) -> ReadingColumns:
    """Read the series of some points over [low, high), sorted by point and time.

    The readings are those that had arrived at `known_at`.
    """
    at, point, value = copy_out(
        connection,
        _READ_READINGS,
        [points, low, min(high, known_at), known_at],
        ("ms", "int4", "float8"),
    )
    return ReadingColumns(at=at, point=point, value=value)


_READ_READINGS = """
    COPY (
        SELECT at, point_id, value
        FROM readings
        WHERE point_id = ANY(%s)
          AND at >= %s
          AND at < %s
          AND (late_s IS NULL OR at <= %s::timestamptz - late_s * interval '1 second')
        ORDER BY point_id, at
    ) TO STDOUT (FORMAT binary)
"""


# Events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventContent:
    """What must be equal in two events of one identity."""

    at_ms: int
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredEvent:
    device_id: int
    event_id: str
    at_ms: int
    kind: str
    data: dict[str, Any]


def write_events(connection: Connection, batch: list[EventRow]) -> Written:
    """Store events inside the caller's transaction.

    An event's identity is (device, id); other content under it is a conflict.
    """
    fresh = np.zeros(len(batch), dtype=bool)
    if not batch:
        return Written(fresh=fresh, conflicts=[])
    contents = _read_contents(connection, batch)
    conflicts: list[int] = []
    for index, row in enumerate(batch):
        key = (row.device_id, row.event_id)
        content = _EventContent(at_ms=row.at_ms, kind=row.kind, data=row.data)
        if key not in contents:
            contents[key] = content
            fresh[index] = True
        elif contents[key] != content:
            conflicts.append(index)
    _copy_events(connection, [batch[index] for index in np.flatnonzero(fresh)])
    return Written(fresh=fresh, conflicts=conflicts)


def _read_contents(
    connection: Connection, rows: list[EventRow]
) -> dict[tuple[int, str], _EventContent]:
    """Read the events that are stored under the identities of some rows."""
    values = [[row.device_id for row in rows], [row.event_id for row in rows]]
    with connection.cursor(row_factory=class_row(_StoredEvent)) as cursor:
        return {
            (stored.device_id, stored.event_id): _EventContent(
                at_ms=stored.at_ms, kind=stored.kind, data=stored.data
            )
            for stored in cursor.execute(_READ_CONTENTS, values)
        }


_READ_CONTENTS = """
    SELECT
        e.device_id,
        e.event_id,
        (extract(epoch FROM e.at) * 1000)::bigint AS at_ms,
        e.kind,
        e.data
    FROM unnest(%s::integer[], %s::text[]) AS w (device_id, event_id)
    JOIN events e ON e.device_id = w.device_id AND e.event_id = w.event_id
"""


def _copy_events(connection: Connection, rows: list[EventRow]) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY_EVENTS) as stream:
        stream.set_types(["timestamptz", "int4", "text", "text", "jsonb", "timestamptz"])
        for row in rows:
            at = from_ms(row.at_ms)
            received_at = datetime.now(UTC)
            if row.received_ms is not None:
                received_at = from_ms(row.received_ms)
            stream.write_row(
                (at, row.device_id, row.event_id, row.kind, Jsonb(row.data), received_at)
            )


_COPY_EVENTS = """
    COPY events (at, device_id, event_id, kind, data, recorded_at)
    FROM STDIN (FORMAT binary)
"""
