"""What ingest writes beside the series, in the same transaction: progress, gaps, tallies, dirty spans, gateway state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from domain.calendar import from_ms
from domain.sequence import Progress
from store.connect import Connection
from store.series import EventRow

ProgressKey = tuple[int, str, str]


@dataclass(slots=True, kw_only=True)
class Tally:
    """The conservation law's four counts: received = stored + duplicates + quarantined."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0

    @property
    def balanced(self) -> bool:
        """Tell whether nothing is unaccounted for."""
        return self.received == self.stored + self.duplicates + self.quarantined


def load_progress(connection: Connection, key: ProgressKey) -> Progress:
    """Read which numbers of (gateway, kind, boot) have been seen."""
    row = connection.execute(
        "SELECT upto, also FROM gateway_progress WHERE (gateway_id, kind, boot) = (%s, %s, %s)", list(key)
    ).fetchone()
    return Progress(upto=row["upto"], also=set(row["also"])) if row else Progress()


def save_progress(connection: Connection, progress: dict[ProgressKey, Progress]) -> None:
    """Write progress. Two workers may hold one gateway's numbers: the higher mark and both sets are kept."""
    for (gateway_id, kind, boot), seen in sorted(progress.items()):
        connection.execute(
            "INSERT INTO gateway_progress AS p (gateway_id, kind, boot, upto, also) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT (gateway_id, kind, boot) DO UPDATE SET upto = greatest(p.upto, excluded.upto), "
            "also = ARRAY(SELECT DISTINCT n FROM unnest(p.also || excluded.also) n "
            "WHERE n > greatest(p.upto, excluded.upto) ORDER BY n), seen_at = now()",
            [gateway_id, kind, boot, seen.upto, sorted(seen.also)],
        )


def note_gaps(connection: Connection, key: ProgressKey, missing: list[int]) -> None:
    """Record numbers that are missing now; those that stay are data gaps."""
    connection.execute(
        "INSERT INTO gaps (gateway_id, kind, boot, seq) SELECT %s, %s, %s, unnest(%s::bigint[]) ON CONFLICT DO NOTHING",
        [*key, missing],
    )


def fill_gaps(connection: Connection, key: ProgressKey, seqs: Iterable[int]) -> None:
    """Record that missing numbers came after all."""
    connection.execute(
        "UPDATE gaps SET filled_at = now() WHERE (gateway_id, kind, boot) = (%s, %s, %s) AND seq = ANY(%s) "
        "AND filled_at IS NULL",
        [*key, list(seqs)],
    )


def add_tallies(connection: Connection, tallies: dict[tuple[str, str], Tally]) -> None:
    """Add to the counts, in a fixed order so that two workers never deadlock."""
    for (source, kind), tally in sorted(tallies.items()):
        connection.execute(
            "INSERT INTO tallies AS t VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (source, kind) DO UPDATE SET "
            "received = t.received + excluded.received, stored = t.stored + excluded.stored, "
            "duplicates = t.duplicates + excluded.duplicates, quarantined = t.quarantined + excluded.quarantined",
            [source, kind, tally.received, tally.stored, tally.duplicates, tally.quarantined],
        )


def read_tallies(connection: Connection) -> dict[tuple[str, str], Tally]:
    """Read the counts by source and kind."""
    return {
        (row["source"], row["kind"]): Tally(received=row["received"], stored=row["stored"],
                                            duplicates=row["duplicates"], quarantined=row["quarantined"])
        for row in connection.execute("SELECT * FROM tallies")
    }  # fmt: skip


def mark_dirty(connection: Connection, spans: dict[int, tuple[int, int]]) -> None:
    """Note that the series of devices changed between two instants (ms)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO dirty_spans (device_id, from_at, to_at) VALUES (%s, %s, %s)",
            [(device, from_ms(low), from_ms(high)) for device, (low, high) in sorted(spans.items())],
        )


def queue_for_watch(connection: Connection, rows: list[EventRow]) -> None:
    """Hand stored events to watch, in the transaction that stores them."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO watch_queue (device_id, at, event_id, kind, data) VALUES (%s, %s, %s, %s, %s)",
            [(row.device_id, from_ms(row.at_ms), row.event_id, row.kind, json.dumps(row.data)) for row in rows],
        )


def save_state(
    connection: Connection,
    gateway_id: int,
    *,
    online: bool,
    at_ms: int,
    boot: str | None,
    clock_offset_ms: int | None,
    outbox: int | None,
    lost: int | None = None,
) -> None:
    """Keep a gateway's last known condition; an older one that comes late changes nothing."""
    connection.execute(
        "INSERT INTO gateway_state AS s (gateway_id, online, at, boot, clock_offset_ms, outbox, lost) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (gateway_id) DO UPDATE SET online = excluded.online, "
        "at = excluded.at, boot = coalesce(excluded.boot, s.boot), heard_at = now(), "
        "clock_offset_ms = coalesce(excluded.clock_offset_ms, s.clock_offset_ms), "
        "outbox = coalesce(excluded.outbox, s.outbox), lost = coalesce(excluded.lost, s.lost) WHERE excluded.at >= s.at",
        [gateway_id, online, from_ms(at_ms), boot, clock_offset_ms, outbox, lost],
    )


def note_best_effort(connection: Connection, gateway_ids: set[int]) -> None:
    """Mark gateways that send without `seq`: they are served, and shown as unable to prove that nothing is lost."""
    for gateway_id in sorted(gateway_ids):
        connection.execute(
            "INSERT INTO gateway_state (gateway_id, online, at, best_effort) VALUES (%s, true, now(), true) "
            "ON CONFLICT (gateway_id) DO UPDATE SET best_effort = true, heard_at = now()",
            [gateway_id],
        )


def save_birth(
    connection: Connection, gateway_id: int, boot: str, at_ms: int, devices: list[dict[str, object]]
) -> None:
    """Keep what a gateway said it has behind it."""
    connection.execute(
        "INSERT INTO births VALUES (%s, %s, %s, %s) ON CONFLICT (gateway_id, boot) DO UPDATE SET at = excluded.at, "
        "devices = excluded.devices",
        [gateway_id, boot, from_ms(at_ms), json.dumps(devices)],
    )
