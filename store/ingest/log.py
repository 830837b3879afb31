"""What ingest writes beside the series, in the same transaction: tallies, what changed, the queue to watch, gateways' state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from domain.calendar import HOUR_MS, from_ms
from domain.wire import Birth, State
from store.database.connection import Connection
from store.database.copy import copy_arrays_in, send_rows
from store.series.readings import EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtySpans:
    """What changed, as columns of one length: of which device and estate, its first and last instant, and when it arrived (ms)."""

    device: NDArray[np.int32]
    estate: NDArray[np.int32]
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    received: NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class IngestTally:
    """The conservation law's four counts: received = stored + duplicates + quarantined."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0

    @property
    def balanced(self) -> bool:
        """Tell whether nothing is unaccounted for."""
        return self.received == self.stored + self.duplicates + self.quarantined


def add_tallies(connection: Connection, tallies: dict[tuple[str, str], IngestTally]) -> None:
    """Add to the counts, in a fixed order so that two workers never deadlock."""
    rows = sorted(
        (source, kind, t.received, t.stored, t.duplicates, t.quarantined)
        for (source, kind), t in tallies.items()
    )
    connection.execute(
        "INSERT INTO ingest_tallies AS t SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) "
        "ON CONFLICT (source, kind) DO UPDATE SET "
        "received = t.received + excluded.received, stored = t.stored + excluded.stored, "
        "duplicates = t.duplicates + excluded.duplicates, quarantined = t.quarantined + excluded.quarantined",
        [list(column) for column in zip(*rows, strict=True)] or [[]] * 6,
    )


def read_tallies(connection: Connection) -> dict[tuple[str, str], IngestTally]:
    """Read the counts by source and kind."""
    return {
        (row["source"], row["kind"]): IngestTally(
            received=row["received"],
            stored=row["stored"],
            duplicates=row["duplicates"],
            quarantined=row["quarantined"],
        )
        for row in connection.execute("SELECT * FROM ingest_tallies")
    }


def mark_dirty(connection: Connection, spans: DirtySpans) -> None:
    """Note that the series of devices changed between two instants, as one row per estate and hour of arrival."""
    rows: list[list[tuple[str, NDArray[Any]] | tuple[str, int] | int]] = []
    hour = spans.received // HOUR_MS
    for estate, arrival in sorted(set(zip(spans.estate.tolist(), hour.tolist(), strict=True))):
        of = (spans.estate == estate) & (hour == arrival)
        rows.append(
            [
                int(estate),
                ("int4", spans.device[of]),
                ("int8", spans.low[of]),
                ("int8", spans.high[of]),
                ("ms", int(spans.received[of].max())),
            ]
        )
    copy_arrays_in(
        connection,
        "COPY dirty_spans (estate_id, devices, from_ms, to_ms, received_at) FROM STDIN (FORMAT binary)",
        rows,
    )


def queue_for_watch(connection: Connection, rows: list[EventRow]) -> None:
    """Hand stored events to watch, in the transaction that stores them."""
    if rows:
        send_rows(
            connection,
            "COPY watch_queue (device_id, at, event_id, kind, data) FROM STDIN (FORMAT binary)",
            ("int4", "timestamptz", "text", "text", "jsonb"),
            [
                (row.device_id, from_ms(row.at_ms), row.event_id, row.kind, Jsonb(row.data))
                for row in rows
            ],
        )


def save_state(connection: Connection, gateway_id: int, state: State) -> None:
    """Keep a gateway's last known condition; an older one that comes late changes nothing."""
    connection.execute(
        "INSERT INTO gateway_state AS s (gateway_id, online, at, boot, clock_offset_ms, outbox, lost) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (gateway_id) DO UPDATE SET online = excluded.online, "
        "at = excluded.at, boot = coalesce(excluded.boot, s.boot), received_at = now(), "
        "clock_offset_ms = coalesce(excluded.clock_offset_ms, s.clock_offset_ms), "
        "outbox = coalesce(excluded.outbox, s.outbox), lost = coalesce(excluded.lost, s.lost), "
        # A start never takes an older one's name again: who speaks as an earlier boot after a later one is a second holder of the credential.
        "credential_conflict_at = CASE WHEN excluded.boot <> s.boot AND EXISTS (SELECT FROM gateway_births o JOIN gateway_births n ON n.gateway_id = o.gateway_id "
        "AND n.boot = s.boot WHERE o.gateway_id = s.gateway_id AND o.boot = excluded.boot AND o.at < n.at) THEN now() ELSE s.credential_conflict_at END "
        "WHERE excluded.at >= s.at",
        [
            gateway_id,
            state.online,
            from_ms(state.at),
            state.boot,
            state.clock_offset_ms,
            state.outbox,
            state.lost,
        ],
    )


def save_skew(connection: Connection, skews: dict[int, int]) -> None:
    """Keep how far gateways' clocks are from the server's, in ms, as the server saw it; only for gateways that told a state."""
    connection.execute(
        "UPDATE gateway_state s SET skew_ms = w.skew_ms FROM unnest(%s::integer[], %s::integer[]) AS w (gateway_id, skew_ms) "
        "WHERE s.gateway_id = w.gateway_id",
        [list(skews), list(skews.values())],
    )


def note_best_effort(connection: Connection, gateway_ids: set[int]) -> None:
    """Mark gateways that send without `seq`: they are served, and shown as unable to prove that nothing is lost."""
    for gateway_id in sorted(gateway_ids):
        connection.execute(
            "INSERT INTO gateway_state (gateway_id, online, at, best_effort) VALUES (%s, true, now(), true) "
            "ON CONFLICT (gateway_id) DO UPDATE SET best_effort = true, received_at = now()",
            [gateway_id],
        )


def save_birth(connection: Connection, gateway_id: int, birth: Birth) -> None:
    """Keep what a gateway said it has behind it."""
    devices = [
        {"device": d.device, "profile": d.profile, "points": d.points} for d in birth.devices
    ]
    connection.execute(
        "INSERT INTO gateway_births VALUES (%s, %s, %s, %s) ON CONFLICT (gateway_id, boot) DO UPDATE SET at = excluded.at, "
        "devices = excluded.devices",
        [gateway_id, birth.boot, from_ms(birth.at), json.dumps(devices)],
    )
