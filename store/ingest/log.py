"""What ingest writes beside the series, in the same transaction.

Tallies, what changed, the queue to watch, and gateways' state.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from domain.calendar import HOUR_MS, from_ms
from domain.wire import Birth, State
from store.database.connection import Connection
from store.database.copy import ArrayField, InstantField, copy_arrays_in, send_rows
from store.series.readings import EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class DirtySpans:
    """Which series changed, as columns of one length."""

    #: Ids of devices and of their estates.
    device: NDArray[np.int32]
    estate: NDArray[np.int32]
    #: The first and the last instant that changed, ms UTC.
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    #: When the change arrived, ms UTC.
    received: NDArray[np.int64]


# Tallies -------------------------------------------------------------------------------------


class TallyKey(NamedTuple):
    """What is counted together: a source ("estate/gateway") and a kind (readings, events, …)."""

    source: str
    kind: str


@dataclass(slots=True, kw_only=True)
class IngestTally:
    """The conservation law's four counts: received = stored + duplicates + quarantined."""

    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for."""
        return self.received == self.stored + self.duplicates + self.quarantined


def add_tallies(connection: Connection, tallies: dict[TallyKey, IngestTally]) -> None:
    """Add to the counts, in a fixed order so that two workers never deadlock."""
    keys = sorted(tallies)
    ordered = [tallies[key] for key in keys]
    connection.execute(
        _ADD_TALLIES,
        [
            [key.source for key in keys],
            [key.kind for key in keys],
            [tally.received for tally in ordered],
            [tally.stored for tally in ordered],
            [tally.duplicates for tally in ordered],
            [tally.quarantined for tally in ordered],
        ],
    )


_ADD_TALLIES = """
    INSERT INTO ingest_tallies AS t (
        source, kind, received, stored, duplicates, quarantined
    )
    SELECT *
    FROM unnest(
        %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]
    )
    ON CONFLICT (source, kind) DO UPDATE
    SET received = t.received + excluded.received,
        stored = t.stored + excluded.stored,
        duplicates = t.duplicates + excluded.duplicates,
        quarantined = t.quarantined + excluded.quarantined
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TallyRow:
    source: str
    kind: str
    received: int
    stored: int
    duplicates: int
    quarantined: int


def read_tallies(connection: Connection) -> dict[TallyKey, IngestTally]:
    """Read the counts by source and kind."""
    with connection.cursor(row_factory=class_row(_TallyRow)) as cursor:
        return {
            TallyKey(row.source, row.kind): IngestTally(
                received=row.received,
                stored=row.stored,
                duplicates=row.duplicates,
                quarantined=row.quarantined,
            )
            for row in cursor.execute(_READ_TALLIES)
        }


_READ_TALLIES = """
    SELECT source, kind, received, stored, duplicates, quarantined
    FROM ingest_tallies
"""


# What others act on --------------------------------------------------------------------------


def mark_dirty(connection: Connection, spans: DirtySpans) -> None:
    """Note that the series of devices changed between two instants.

    There is one row per estate and hour of arrival.
    """
    hour = spans.received // HOUR_MS
    groups = sorted(set(zip(spans.estate.tolist(), hour.tolist(), strict=True)))
    rows: list[list[int | ArrayField | InstantField]] = []
    for estate, arrival_hour in groups:
        chosen = (spans.estate == estate) & (hour == arrival_hour)
        rows.append(
            [
                estate,
                ArrayField("int4", spans.device[chosen]),
                ArrayField("int8", spans.low[chosen]),
                ArrayField("int8", spans.high[chosen]),
                InstantField(int(spans.received[chosen].max())),
            ]
        )
    copy_arrays_in(connection, _COPY_DIRTY_SPANS, rows)


_COPY_DIRTY_SPANS = """
    COPY dirty_spans (estate_id, devices, from_ms, to_ms, received_at)
    FROM STDIN (FORMAT binary)
"""


def queue_for_watch(connection: Connection, rows: list[EventRow]) -> None:
    """Hand stored events to watch, in the transaction that stores them."""
    if rows:
        send_rows(
            connection,
            _COPY_WATCH_QUEUE,
            ("int4", "timestamptz", "text", "text", "jsonb"),
            [
                (row.device_id, from_ms(row.at_ms), row.event_id, row.kind, Jsonb(row.data))
                for row in rows
            ],
        )


_COPY_WATCH_QUEUE = """
    COPY watch_queue (device_id, at, event_id, kind, data)
    FROM STDIN (FORMAT binary)
"""


# Gateways ------------------------------------------------------------------------------------


def save_state(connection: Connection, gateway_id: int, state: State) -> None:
    """Keep a gateway's last known condition; an older one that comes late changes nothing.

    `credential_conflict_at` notes a second holder of the gateway's credential. A start never takes
    an older one's name again. So whoever speaks as an earlier boot after a later one is another.
    """
    connection.execute(
        _SAVE_STATE,
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


_SAVE_STATE = """
    INSERT INTO gateway_state AS s (
        gateway_id, online, at, boot, clock_offset_ms, outbox, lost
    )
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (gateway_id) DO UPDATE
    SET online = excluded.online,
        at = excluded.at,
        boot = coalesce(excluded.boot, s.boot),
        received_at = now(),
        clock_offset_ms = coalesce(excluded.clock_offset_ms, s.clock_offset_ms),
        outbox = coalesce(excluded.outbox, s.outbox),
        lost = coalesce(excluded.lost, s.lost),
        credential_conflict_at = CASE
            WHEN excluded.boot <> s.boot
             AND EXISTS (
                SELECT
                FROM gateway_births older
                JOIN gateway_births newer
                  ON newer.gateway_id = older.gateway_id
                 AND newer.boot = s.boot
                WHERE older.gateway_id = s.gateway_id
                  AND older.boot = excluded.boot
                  AND older.at < newer.at
             )
            THEN now()
            ELSE s.credential_conflict_at
        END
    WHERE excluded.at >= s.at
"""


def save_skew(connection: Connection, skews: dict[int, int]) -> None:
    """Keep how far gateways' clocks are from the server's, in ms, by gateway's id.

    A gateway that has never reported a state is left out.
    """
    connection.execute(_SAVE_SKEW, [list(skews), list(skews.values())])


_SAVE_SKEW = """
    UPDATE gateway_state s
    SET skew_ms = w.skew_ms
    FROM unnest(%s::integer[], %s::integer[]) AS w (gateway_id, skew_ms)
    WHERE s.gateway_id = w.gateway_id
"""


def note_best_effort(connection: Connection, gateway_ids: set[int]) -> None:
    """Mark gateways that send without `seq`.

    They are served, and shown as unable to prove that nothing is lost.
    """
    for gateway_id in sorted(gateway_ids):
        connection.execute(_NOTE_BEST_EFFORT, [gateway_id])


_NOTE_BEST_EFFORT = """
    INSERT INTO gateway_state (gateway_id, online, at, best_effort)
    VALUES (%s, true, now(), true)
    ON CONFLICT (gateway_id) DO UPDATE
    SET best_effort = true, received_at = now()
"""


def save_birth(connection: Connection, gateway_id: int, birth: Birth) -> None:
    """Keep which devices a gateway reported at its start."""
    devices = [
        {"device": born.device, "profile": born.profile, "points": born.points}
        for born in birth.devices
    ]
    connection.execute(
        _SAVE_BIRTH, [gateway_id, birth.boot, from_ms(birth.at), json.dumps(devices)]
    )


_SAVE_BIRTH = """
    INSERT INTO gateway_births (gateway_id, boot, at, devices)
    VALUES (%s, %s, %s, %s)
    ON CONFLICT (gateway_id, boot) DO UPDATE
    SET at = excluded.at, devices = excluded.devices
"""
