"""Readings and events: written exactly once, read back as columns.

Readings go in by binary COPY straight into the table; a batch that meets a key that is there already fails as a whole and is
written again by merging, where an equal value is a duplicate and a different one a conflict. The same key with another
value is never swallowed: it comes back to the caller, who quarantines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from domain.calendar import from_ms
from store.database.connection import Connection, DuplicateKey
from store.database.copy import copy_in, copy_out


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingColumns:
    """Readings as columns of one length: `at` in ms UTC, `point` ids, `value` in the point's uom.

    `late_s` says how many seconds after `at` each arrived; None where all came as they were taken.
    """

    at: NDArray[np.int64]
    point: NDArray[np.int32]
    value: NDArray[np.float64]
    late_s: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of each row of a batch: `fresh` rows are stored now, `conflicts` clash; the others were there before."""

    fresh: NDArray[np.bool_]
    conflicts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event, placed. `received_ms`: when it arrived; None: now."""

    device_id: int
    at_ms: int
    event_id: str
    kind: str
    data: dict[str, Any]
    received_ms: int | None = None


def write_readings(
    connection: Connection, batch: ReadingColumns, *, merge: bool = False
) -> Written:
    """Store a batch inside the caller's transaction.

    Raises: DuplicateKey, without `merge`, where any key is stored or stands twice in the batch; the transaction is lost, and
    the batch has to be written again with `merge`. With it, only where another worker stored the same key at this moment.
    """
    if merge:
        return _merge(connection, batch)
    # In the order of the key every row goes to the right edge of the index: a third less work for the server.
    order = np.lexsort((batch.point, batch.at))
    columns: tuple[NDArray[Any], ...] = (batch.at[order], batch.point[order], batch.value[order])
    if batch.late_s is None:
        copy_in(connection, _COPY, ("ms", "int4", "float8"), columns)
    else:
        copy_in(
            connection,
            _COPY_LATE,
            ("ms", "int4", "float8", "int4"),
            (*columns, batch.late_s[order]),
        )
    return Written(fresh=np.ones(len(batch), dtype=bool), conflicts=[])


_COPY = "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)"
_COPY_LATE = "COPY readings (at, point_id, value, late_s) FROM STDIN (FORMAT binary)"


def _merge(connection: Connection, batch: ReadingColumns) -> Written:
    order = np.lexsort((batch.point, batch.at))
    at, point, value = batch.at[order], batch.point[order], batch.value[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (at[1:] != at[:-1]) | (point[1:] != point[:-1])
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_readings (n integer, at timestamptz, point_id integer, value double precision, "
        "late_s integer) "
        "ON COMMIT DELETE ROWS"
    )
    connection.execute("TRUNCATE staged_readings")
    keys = np.flatnonzero(first)
    late = np.zeros(len(order), dtype=np.int32) if batch.late_s is None else batch.late_s[order]
    copy_in(
        connection,
        "COPY staged_readings FROM STDIN (FORMAT binary)",
        ("int4", "ms", "int4", "float8", "int4"),
        (np.arange(len(keys)), at[keys], point[keys], value[keys], late[keys]),
    )
    # The explicit span lets the planner prune partitions and chunks.
    held, truth = copy_out(
        connection,
        "COPY (SELECT s.n, r.value FROM staged_readings s JOIN readings r ON r.at = s.at AND r.point_id = s.point_id "
        "AND r.at >= %s AND r.at <= %s) TO STDOUT (FORMAT binary)",
        [from_ms(int(at[0])), from_ms(int(at[-1]))],
        ("int4", "float8"),
    )
    done = connection.execute(
        "INSERT INTO readings (at, point_id, value, late_s) SELECT at, point_id, value, nullif(late_s, 0) "
        "FROM staged_readings ON CONFLICT DO NOTHING"
    )
    if done.rowcount != len(keys) - len(held):
        raise DuplicateKey("another worker stored the same readings at this moment")
    new = np.ones(len(keys), dtype=bool)
    new[held] = False
    # lexsort is stable: of equal keys the first to arrive counts, unless the table holds one.
    right = value[keys].copy()
    right[held] = truth
    group = np.cumsum(first) - 1
    fresh = np.zeros(len(order), dtype=bool)
    fresh[order] = first & new[group]
    return Written(fresh=fresh, conflicts=[int(i) for i in order[value != right[group]]])


def write_events(connection: Connection, batch: list[EventRow]) -> Written:
    """Store events inside the caller's transaction. Identity is (device, id); other content under it is a conflict."""
    fresh = np.zeros(len(batch), dtype=bool)
    if not batch:
        return Written(fresh=fresh, conflicts=[])
    truth = _held_events(connection, batch)
    clash: list[int] = []
    for i, row in enumerate(batch):
        told = (row.at_ms, row.kind, row.data)
        held = truth.setdefault((row.device_id, row.event_id), told)
        fresh[i] = held is told
        if held != told:
            clash.append(i)
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY events (at, device_id, event_id, kind, data, recorded_at) FROM STDIN (FORMAT binary)"
        ) as stream,
    ):
        stream.set_types(["timestamptz", "int4", "text", "text", "jsonb", "timestamptz"])
        for row in (batch[i] for i in np.flatnonzero(fresh)):
            at, received = (
                from_ms(row.at_ms),
                datetime.now(UTC) if row.received_ms is None else from_ms(row.received_ms),
            )
            stream.write_row((at, row.device_id, row.event_id, row.kind, Jsonb(row.data), received))
    return Written(fresh=fresh, conflicts=clash)


def _held_events(
    connection: Connection, rows: list[EventRow]
) -> dict[tuple[int, str], tuple[int, str, dict[str, Any]]]:
    found = connection.execute(
        "SELECT e.device_id, e.event_id, (extract(epoch FROM e.at) * 1000)::bigint AS at_ms, e.kind, e.data "
        "FROM unnest(%s::integer[], %s::text[]) AS w (device_id, event_id) "
        "JOIN events e ON e.device_id = w.device_id AND e.event_id = w.event_id",
        [[row.device_id for row in rows], [row.event_id for row in rows]],
    )
    return {(r["device_id"], r["event_id"]): (r["at_ms"], r["kind"], r["data"]) for r in found}


def read_readings(
    connection: Connection, points: list[int], low: datetime, high: datetime, known_at: datetime
) -> ReadingColumns:
    """Read the series of some points over [low, high), sorted by point and time: what had arrived at `known_at`."""
    at, point, value = copy_out(
        connection,
        "COPY (SELECT at, point_id, value FROM readings WHERE point_id = ANY(%s) AND at >= %s AND at < %s "
        "AND (late_s IS NULL OR at <= %s::timestamptz - late_s * interval '1 second') "
        "ORDER BY point_id, at) TO STDOUT (FORMAT binary)",
        [points, low, min(high, known_at), known_at],
        ("ms", "int4", "float8"),
    )
    return ReadingColumns(at=at, point=point, value=value)
