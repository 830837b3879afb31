"""The shape of what ingest writes through: one connection, one transaction a batch.

`store.ingest.ledger.PostgresLedger` is the real one. It stands here as a protocol, so that the
writer can be run against the simulation's, which fails as it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from domain.sequence import Run
from domain.wire import Birth, State
from store.ingest.ledger import PointName
from store.ingest.log import DirtySpans, IngestTally, TallyKey
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.register.placement import RegisterSnapshot
from store.series.readings import EventRow, ReadingColumns, Written


class BatchLedger(RegisterSnapshot, Protocol):
    """What a batch is written through."""

    def batch(self, seconds: float) -> AbstractContextManager[None]:
        """Hold the work to a deadline, and undo it where it fails."""

    def commit(self) -> None:
        """End the transaction."""

    def point_names(self, points: Iterable[int]) -> dict[int, PointName]:
        """Return the names of points by id."""

    def cover(self, low_ms: int, high_ms: int) -> None:
        """Make sure that there are tables for a span of time."""

    def write_readings(self, columns: ReadingColumns, *, merge: bool) -> Written:
        """Store readings."""

    def write_events(self, rows: list[EventRow]) -> Written:
        """Store events."""

    def queue_for_watch(self, rows: list[EventRow]) -> None:
        """Hand stored events to watch."""

    def note_result(self, row: EventRow) -> None:
        """Note what a gateway reports of a command."""

    def keep_refused(self, refused: list[QuarantinedMessage]) -> list[bool]:
        """Put refusals into quarantine; return for each whether it is new."""

    def note_seen(self, seen: dict[ProgressKey, list[Run]]) -> dict[ProgressKey, list[Run]]:
        """Add numbers to the progress; return all that are known to be stored."""

    def mark_dirty(self, spans: DirtySpans) -> None:
        """Note which series changed."""

    def add_tallies(self, tallies: dict[TallyKey, IngestTally]) -> None:
        """Add to the counts."""

    def save_state(self, gateway_id: int, state: State) -> None:
        """Keep a gateway's condition."""

    def save_birth(self, gateway_id: int, birth: Birth) -> None:
        """Keep what a gateway has behind it."""

    def note_best_effort(self, gateway_ids: set[int]) -> None:
        """Mark gateways that send without numbers."""


class LaneLedger(BatchLedger, Protocol):
    """What a lane writes through."""

    def close(self) -> None:
        """Let go of the connection."""

    def save_skew(self, skews: dict[int, int]) -> None:
        """Keep how far gateways' clocks are off."""

    def keep_latest(
        self, point: NDArray[np.int32], at: NDArray[np.int64], value: NDArray[np.float64]
    ) -> None:
        """Keep points' latest values."""
