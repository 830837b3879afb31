"""Readings and events: written exactly once, read back as columns.

Readings go in by binary COPY straight into the table; only when the batch meets a key that is there already is it
redone through a staging table, where an equal value is a duplicate and a different one a conflict. The same key with
another value is never swallowed: it comes back to the caller, who quarantines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from domain.calendar import from_ms
from store.connect import AlreadyThere, Connection

_EPOCH_2000_MS = 946_684_800_000
_HEADER = b"PGCOPY\n\xff\r\n\x00" + b"\x00" * 8
_TRAILER = b"\xff\xff"
_READING_ROW = np.dtype([
    ("fields", ">i2"), ("at_len", ">i4"), ("at", ">i8"), ("point_len", ">i4"), ("point", ">i4"),
    ("value_len", ">i4"), ("value", ">f8"),
])  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Readings as columns of one length: `at` in ms UTC, `point` ids, `value` in the point's uom."""

    at: NDArray[np.int64]
    point: NDArray[np.int32]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of a batch: how many rows are new, how many were there, and which (by index) conflict.

    `fresh` are the indices of the new rows; it is given for events only, where each may have to be acted on, once.
    """

    stored: int
    duplicates: int
    conflicts: list[int]
    fresh: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event, placed."""

    device_id: int
    at_ms: int
    event_id: str
    kind: str
    data: dict[str, Any]


def write_readings(connection: Connection, batch: Readings) -> Written:
    """Store a batch inside the caller's transaction."""
    if not len(batch):
        return Written(stored=0, duplicates=0, conflicts=[])
    order = np.lexsort((batch.point, batch.at))
    at, point, value = batch.at[order], batch.point[order], batch.value[order]
    same = np.zeros(len(order), dtype=bool)
    same[1:] = (at[1:] == at[:-1]) & (point[1:] == point[:-1])
    # lexsort is stable: of equal keys the first to arrive stands first, and it is the one that counts.
    first = np.maximum.accumulate(np.where(~same, np.arange(len(order)), 0))
    fresh = Readings(at=at[~same], point=point[~same], value=value[~same])
    held: dict[tuple[int, int], float] = {}
    try:
        with connection.transaction():
            _copy(connection, "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)", fresh)
        stored = len(fresh)
    except AlreadyThere:
        stored, held = _merge(connection, fresh)
    wrong = same & (value != value[first])
    if held:
        # What is in the table decides, also for the later ones of a batch that repeats a key.
        truth = np.array([held.get((int(a), int(p)), np.nan) for a, p in zip(at, point, strict=True)])
        wrong = np.where(np.isnan(truth), wrong, value != truth)
    conflicts = [int(i) for i in order[wrong]]
    return Written(stored=stored, duplicates=len(order) - stored - len(conflicts), conflicts=conflicts)


def _copy(connection: Connection, command: str, batch: Readings) -> None:
    rows = np.empty(len(batch), dtype=_READING_ROW)
    rows["fields"], rows["at_len"], rows["point_len"], rows["value_len"] = 3, 8, 4, 8
    rows["at"] = (batch.at - _EPOCH_2000_MS) * 1000
    rows["point"] = batch.point
    rows["value"] = batch.value
    with connection.cursor() as cursor, cursor.copy(command) as stream:
        stream.write(_HEADER + rows.tobytes() + _TRAILER)


def _merge(connection: Connection, batch: Readings) -> tuple[int, dict[tuple[int, int], float]]:
    """Store what is new of a batch; return how many are new, and what the table holds where it holds something else."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS staged_readings (at timestamptz, point_id integer, value double precision) "
        "ON COMMIT DELETE ROWS"
    )
    connection.execute("TRUNCATE staged_readings")
    _copy(connection, "COPY staged_readings (at, point_id, value) FROM STDIN (FORMAT binary)", batch)
    done = connection.execute(
        "INSERT INTO readings SELECT at, point_id, value FROM staged_readings ON CONFLICT DO NOTHING"
    )
    # The explicit span lets the planner prune partitions and chunks.
    clash = connection.execute(
        "SELECT (extract(epoch FROM s.at) * 1000)::bigint AS at, s.point_id AS point, r.value FROM staged_readings s "
        "JOIN readings r ON r.at = s.at AND r.point_id = s.point_id AND r.at >= %s AND r.at <= %s "
        "WHERE r.value <> s.value",
        [from_ms(int(np.min(batch.at))), from_ms(int(np.max(batch.at)))],
    )
    return done.rowcount, {(row["at"], row["point"]): row["value"] for row in clash}


def write_events(connection: Connection, batch: list[EventRow]) -> Written:
    """Store events inside the caller's transaction. Identity is (device, id); other content under it is a conflict."""
    if not batch:
        return Written(stored=0, duplicates=0, conflicts=[])
    fresh: dict[tuple[int, str], int] = {}
    duplicates, clash = 0, []
    for i, row in enumerate(batch):
        known = fresh.setdefault((row.device_id, row.event_id), i)
        if known != i:
            if batch[known] == row:
                duplicates += 1
            else:
                clash.append(i)
    kept = list(fresh.values())
    held = _held_events(connection, [batch[i] for i in kept])
    new: list[int] = []
    for i in kept:
        row = batch[i]
        there = held.get((row.device_id, row.event_id))
        if there is None:
            new.append(i)
        elif there == (row.at_ms, row.kind, row.data):
            duplicates += 1
        else:
            clash.append(i)
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY events (at, device_id, event_id, kind, data) FROM STDIN (FORMAT binary)") as stream,
    ):
        stream.set_types(["timestamptz", "int4", "text", "text", "jsonb"])
        for row in (batch[i] for i in new):
            stream.write_row((from_ms(row.at_ms), row.device_id, row.event_id, row.kind, Jsonb(row.data)))
    return Written(stored=len(new), duplicates=duplicates, conflicts=clash, fresh=tuple(new))


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


def read_readings(connection: Connection, points: list[int], low: datetime, high: datetime) -> Readings:
    """Read the series of some points over [low, high), sorted by point and time."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT at, point_id, value FROM readings WHERE point_id = ANY(%s) AND at >= %s AND at < %s "
            "ORDER BY point_id, at) TO STDOUT (FORMAT binary)",
            [points, low, high],
        ) as stream,
    ):
        raw = b"".join(bytes(block) for block in stream)
    rows = np.frombuffer(
        raw, dtype=_READING_ROW, offset=len(_HEADER), count=(len(raw) - len(_HEADER)) // _READING_ROW.itemsize
    )
    return Readings(
        at=rows["at"].astype(np.int64) // 1000 + _EPOCH_2000_MS,
        point=rows["point"].astype(np.int32),
        value=rows["value"].astype(np.float64),
    )
