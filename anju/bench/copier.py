"""COPY alone, for the ingest benchmark: batches into the table of readings, one commit each, from bytes or from Python's rows.

`python -m anju.bench.copier JSON` runs one writer as a process of its own.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from domain.calendar import from_ms
from store.database.connection import connect
from store.database.copy import pack, send, send_rows
from store.database.partitions import Partitions

BATCH = 10_000
COMMAND = "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)"


def copy(
    dsn: str, batches: int, lane: int, lanes: int, points: int, base_ms: int, prepared: bool
) -> float:
    """Write batches; returns the seconds. `prepared` batches are bytes already; the others are rows of Python values."""
    bodies: list[Any] = []
    for n in range(lane, batches * lanes, lanes):
        row = np.arange(n * BATCH, (n + 1) * BATCH, dtype=np.int64)
        at, point, value = (
            base_ms + row // points * 1000 + row % points // 20,
            row % points + 1,
            row * 0.5,
        )
        if prepared:
            bodies.append(pack(("ms", "int4", "float8"), (at, point, value)))
        else:
            bodies.append(
                list(zip(map(from_ms, at.tolist()), point.tolist(), value.tolist(), strict=True))
            )
    with connect(dsn) as connection:
        partitions = Partitions(connection)
        connection.commit()
        partitions.cover(connection, from_ms(base_ms), from_ms(base_ms + batches * lanes * BATCH))
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        for body in bodies:
            if prepared:
                send(connection, COMMAND, body)
            else:
                send_rows(connection, COMMAND, ("timestamptz", "int4", "float8"), body)
            connection.commit()
        return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps({"seconds": copy(**json.loads(sys.argv[1]))}), flush=True)
