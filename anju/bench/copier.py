"""COPY alone, for the ingest benchmark: batches into the table of readings, one commit each.

`python -m anju.bench.copier JSON` runs one writer as a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from domain.calendar import from_ms
from store.database.connection import connect
from store.database.copy import pack, send, send_rows
from store.database.partitions import Partitions

BATCH = 10_000
COMMAND = "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyJob:
    """What one of several writers writes."""

    dsn: str
    #: Batches of this writer.
    batches: int
    #: Which of the writers it is, and how many there are.
    lane: int
    lanes: int
    points: int
    #: The first instant, ms UTC.
    base_ms: int
    #: Whether batches are laid out as bytes before the time is taken. Otherwise they are rows of
    #: Python values, laid out by psycopg.
    prepared: bool


def copy(job: CopyJob) -> float:
    """Write batches; return the seconds."""
    numbers = range(job.lane, job.batches * job.lanes, job.lanes)
    bodies = [_make_body(job, number) for number in numbers]
    with connect(job.dsn) as connection:
        partitions = Partitions(connection)
        connection.commit()
        last_ms = job.base_ms + job.batches * job.lanes * BATCH
        partitions.cover(connection, from_ms(job.base_ms), from_ms(last_ms))
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        for body in bodies:
            if job.prepared:
                send(connection, COMMAND, body)
            else:
                send_rows(connection, COMMAND, ("timestamptz", "int4", "float8"), body)
            connection.commit()
        return time.perf_counter() - began


def _make_body(job: CopyJob, number: int) -> Any:
    """Make a batch of distinct readings."""
    row = np.arange(number * BATCH, (number + 1) * BATCH, dtype=np.int64)
    at = job.base_ms + row // job.points * 1000 + row % job.points // 20
    point = row % job.points + 1
    value = row * 0.5
    if job.prepared:
        return pack(("ms", "int4", "float8"), (at, point, value))
    return list(zip(map(from_ms, at.tolist()), point.tolist(), value.tolist(), strict=True))


if __name__ == "__main__":
    print(json.dumps({"seconds": copy(CopyJob(**json.loads(sys.argv[1])))}), flush=True)
