"""Which numbers of which gateway are stored: one row per (gateway, kind, boot), its numbers as a multirange.

PostgreSQL's own union of ranges merges what several workers saw, so that no worker needs to remember anything: the row is
the truth, and what it returns is what may be acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from domain.sequence import Run
from store.database.connection import Connection

#: Gateway's id, kind (readings, events), boot.
ProgressKey = tuple[int, str, str]

#: Runs that are remembered of one boot. A gateway that leaves more gaps than this is told nothing of numbers above them until
#: some are closed, and sends them again: nothing is lost, and the row stays small.
MAX_RUNS = 1000


def note_seen(
    connection: Connection, seen: dict[ProgressKey, list[Run]], max_runs: int = MAX_RUNS
) -> dict[ProgressKey, list[Run]]:
    """Add the numbers of a batch; returns all that are known to be stored, as runs, for each key.

    The rows are locked in the order of their keys, so that two workers never deadlock.
    """
    keys = sorted(seen)
    rows = connection.execute(
        "INSERT INTO gateway_progress AS p (gateway_id, kind, boot, received) "
        "SELECT * FROM unnest(%s::integer[], %s::text[], %s::text[], %s::int8multirange[]) "
        "ON CONFLICT (gateway_id, kind, boot) DO UPDATE SET received_at = now(), received = merge_multirange(p.received, excluded.received, %s) "
        "RETURNING gateway_id, kind, boot, ARRAY(SELECT lower(r) FROM unnest(received) r) AS lows, "
        "ARRAY(SELECT upper(r) FROM unnest(received) r) AS highs",
        [
            [k[0] for k in keys],
            [k[1] for k in keys],
            [k[2] for k in keys],
            [_text(seen[k]) for k in keys],
            max_runs,
        ],
    )
    return {
        (row["gateway_id"], row["kind"], row["boot"]): list(
            zip(row["lows"], row["highs"], strict=True)
        )
        for row in rows
    }


def _text(seen: Sequence[Run]) -> str:
    return "{" + ",".join(f"[{low},{high})" for low, high in seen) + "}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What is missing of one boot: the gateway's place in topics, and the runs."""

    estate: str
    gateway: str
    kind: str
    boot: str
    missing: list[Run]


def take_gaps(
    connection: Connection,
    *,
    after: timedelta,
    again: timedelta,
    give_up: timedelta,
    limit: int = 100,
) -> list[Gap]:
    """Take gaps that are due to be asked for: open for `after`, not asked for within `again`, not older than `give_up`.

    A gap that is given up is not asked for any more; it stays on record.
    """
    rows = connection.execute(
        "WITH due AS (SELECT gateway_id, kind, boot FROM gateway_progress WHERE gap_since < now() - %s AND gap_since > now() - %s "
        "AND (requested_at IS NULL OR requested_at < now() - %s) ORDER BY gap_since LIMIT %s FOR UPDATE SKIP LOCKED), "
        "asked AS (UPDATE gateway_progress p SET requested_at = now() FROM due "
        "WHERE (p.gateway_id, p.kind, p.boot) = (due.gateway_id, due.kind, due.boot) RETURNING p.*) "
        "SELECT e.code AS estate, g.code AS gateway, a.kind, a.boot, ARRAY(SELECT lower(r) FROM unnest(a.missing) r) AS lows, "
        "ARRAY(SELECT upper(r) FROM unnest(a.missing) r) AS highs FROM asked a JOIN gateways g ON g.id = a.gateway_id "
        "JOIN estates e ON e.id = g.estate_id WHERE g.retired_on IS NULL",
        [after, give_up, again, limit],
    )
    return [
        Gap(
            estate=row["estate"],
            gateway=row["gateway"],
            kind=row["kind"],
            boot=row["boot"],
            missing=list(zip(row["lows"], row["highs"], strict=True)),
        )
        for row in rows
    ]


def count_gaps(connection: Connection) -> int:
    """Count the gaps that are open."""
    row = connection.execute("SELECT count(*) AS n FROM gaps").fetchone()
    return int(row["n"]) if row else 0


def highest_stored(connection: Connection, gateway: str, kind: str) -> int:
    """Return the highest number that is stored of a gateway; 0 where there is none."""
    row = connection.execute(
        "SELECT coalesce(max(upper(p.received)) - 1, 0) AS upto FROM gateway_progress p JOIN gateways g ON g.id = p.gateway_id "
        "WHERE g.code = %s AND p.kind = %s",
        [gateway, kind],
    ).fetchone()
    return int(row["upto"]) if row else 0
