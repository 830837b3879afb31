"""COPY alone, for the ingest benchmark: batches that are laid out in advance, into the table of readings, one commit each.

`python -m anju.bench.copier JSON` runs one writer as a process of its own.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from domain.calendar import from_ms
from store.connect import connect
from store.copying import pack, send
from store.partitions import Partitions

BATCH = 10_000


def copy(dsn: str, batches: int, lane: int, lanes: int, points: int, base_ms: int) -> float:
    """Write batches; returns the seconds."""
    bodies = []
    for n in range(lane, batches * lanes, lanes):
        row = np.arange(n * BATCH, (n + 1) * BATCH, dtype=np.int64)
        bodies.append(
            pack(
                ("ms", "int4", "float8"),
                (base_ms + row // points * 1000 + row % points // 20, row % points + 1, row * 0.5),
            )
        )
    with connect(dsn) as connection:
        partitions = Partitions(connection)
        connection.commit()
        partitions.cover(connection, from_ms(base_ms), from_ms(base_ms + batches * lanes * BATCH))
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.readline()
        began = time.perf_counter()
        for body in bodies:
            send(connection, "COPY readings (at, point_id, value) FROM STDIN (FORMAT binary)", body)
            connection.commit()
        return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps({"seconds": copy(**json.loads(sys.argv[1]))}), flush=True)
