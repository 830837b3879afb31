"""Which numbers of which gateway are stored: one row per (gateway, kind, boot), with a multirange.

PostgreSQL's own union of ranges merges what several workers saw. So no worker needs to remember
anything: the row is the truth, and what it returns is what may be acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from psycopg.rows import class_row, scalar_row

from domain.sequence import Run
from store.database.connection import Connection

#: Runs that are remembered of one boot. A gateway that leaves more gaps than this is told nothing
#: of numbers above them until some are closed, and sends them again. So nothing is lost, and the
#: row stays small.
MAX_RUNS = 1000


class ProgressKey(NamedTuple):
    """What numbers belong to: a gateway's messages of one kind (readings, events) and boot."""

    gateway_id: int
    kind: str
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _SeenRow:
    """One row of `gateway_progress`: its runs as their first numbers and those behind them."""

    gateway_id: int
    kind: str
    boot: str
    lows: list[int]
    highs: list[int]


def note_seen(
    connection: Connection, seen: dict[ProgressKey, list[Run]], max_runs: int = MAX_RUNS
) -> dict[ProgressKey, list[Run]]:
    """Add the numbers of a batch; return all that are known to be stored, as runs, for each key.

    The rows are locked in the order of their keys, so that two workers never deadlock.
    """
    keys = sorted(seen)
    values = [
        [key.gateway_id for key in keys],
        [key.kind for key in keys],
        [key.boot for key in keys],
        [_as_multirange(seen[key]) for key in keys],
        max_runs,
    ]
    with connection.cursor(row_factory=class_row(_SeenRow)) as cursor:
        return {
            ProgressKey(row.gateway_id, row.kind, row.boot): list(
                zip(row.lows, row.highs, strict=True)
            )
            for row in cursor.execute(_NOTE_SEEN, values)
        }


_NOTE_SEEN = """
    INSERT INTO gateway_progress AS p (gateway_id, kind, boot, received)
    SELECT *
    FROM unnest(%s::integer[], %s::text[], %s::text[], %s::int8multirange[])
    ON CONFLICT (gateway_id, kind, boot) DO UPDATE
    SET received_at = now(),
        received = merge_multirange(p.received, excluded.received, %s)
    RETURNING
        gateway_id,
        kind,
        boot,
        ARRAY(SELECT lower(r) FROM unnest(received) r) AS lows,
        ARRAY(SELECT upper(r) FROM unnest(received) r) AS highs
"""


def _as_multirange(runs: Sequence[Run]) -> str:
    return "{" + ",".join(f"[{low},{high})" for low, high in runs) + "}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is missing of one boot: the gateway's codes, as topics name it, and the runs."""

    estate: str
    gateway: str
    kind: str
    boot: str
    missing: list[Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class _GapRow:
    estate: str
    gateway: str
    kind: str
    boot: str
    lows: list[int]
    highs: list[int]


def take_gaps(
    connection: Connection,
    *,
    after: timedelta,
    again: timedelta,
    give_up: timedelta,
    limit: int = 100,
) -> list[Gap]:
    """Take the gaps that are due to be asked for, and note that they are asked for now.

    A gap is due when it has been open for `after` and was not asked for within `again`. One that
    is older than `give_up` is not asked for any more; it stays on record.
    """
    with connection.cursor(row_factory=class_row(_GapRow)) as cursor:
        rows = cursor.execute(_TAKE_GAPS, [after, give_up, again, limit]).fetchall()
    return [
        Gap(
            estate=row.estate,
            gateway=row.gateway,
            kind=row.kind,
            boot=row.boot,
            missing=list(zip(row.lows, row.highs, strict=True)),
        )
        for row in rows
    ]


_TAKE_GAPS = """
    WITH due AS (
        SELECT gateway_id, kind, boot
        FROM gateway_progress
        WHERE gap_since < now() - %s
          AND gap_since > now() - %s
          AND (requested_at IS NULL OR requested_at < now() - %s)
        ORDER BY gap_since
        LIMIT %s
        FOR UPDATE SKIP LOCKED
    ), asked AS (
        UPDATE gateway_progress p
        SET requested_at = now()
        FROM due
        WHERE (p.gateway_id, p.kind, p.boot) = (due.gateway_id, due.kind, due.boot)
        RETURNING p.*
    )
    SELECT
        e.code AS estate,
        g.code AS gateway,
        a.kind,
        a.boot,
        ARRAY(SELECT lower(r) FROM unnest(a.missing) r) AS lows,
        ARRAY(SELECT upper(r) FROM unnest(a.missing) r) AS highs
    FROM asked a
    JOIN gateways g ON g.id = a.gateway_id
    JOIN estates e ON e.id = g.estate_id
    WHERE g.retired_on IS NULL
"""


def count_gaps(connection: Connection) -> int:
    """Count the gaps that are open."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute("SELECT count(*) FROM gaps").fetchone() or 0)


def highest_stored(connection: Connection, gateway: str, kind: str) -> int:
    """Return the highest number that is stored of a gateway; 0 where there is none."""
    with connection.cursor(row_factory=scalar_row) as cursor:
        return int(cursor.execute(_HIGHEST_STORED, [gateway, kind]).fetchone() or 0)


_HIGHEST_STORED = """
    SELECT coalesce(max(upper(p.received)) - 1, 0)
    FROM gateway_progress p
    JOIN gateways g ON g.id = p.gateway_id
    WHERE g.code = %s
      AND p.kind = %s
"""
