"""What a lane may write later: the latest value of each point, and gateways' clock skews.

Both are collected in memory and written every few seconds. Values that are late or replayed change
nothing. A kill loses a few seconds of them; the next value of each point makes up for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.ledger import LaneLedger
from store.database.connection import SerializationConflict
from store.series.readings import ReadingColumns

#: How long writing may keep the database busy before the connection is cut.
SAVE_SECONDS = 20.0
#: Points written at a time, so that no batch waits for all of them.
POINTS_PER_SAVE = 1_000
#: How soon the rest follows where there are more.
NEXT_SAVE_S = 0.02


class LatestColumns(NamedTuple):
    """Latest values as arrays of one length: ids of points, ms UTC, values in the points' units."""

    point: NDArray[np.int32]
    at: NDArray[np.int64]
    value: NDArray[np.float64]


class LatestValues:
    """The latest values that one lane has read since it last wrote. Arrays are indexed by point."""

    def __init__(self) -> None:
        self._at: NDArray[np.int64] = np.zeros(1024, dtype=np.int64)
        self._value: NDArray[np.float64] = np.zeros(1024)
        self._changed: NDArray[np.bool_] = np.zeros(1024, dtype=bool)

    def offer(self, readings: ReadingColumns) -> None:
        """Keep what is newer than what is known."""
        self._grow(int(readings.point.max(initial=-1)) + 1)
        newer = readings.at > self._at[readings.point]
        at = readings.at[newer]
        point = readings.point[newer]
        value = readings.value[newer]
        # Of several values of one point the newest is assigned last.
        order = np.argsort(at, kind="stable")
        self._at[point[order]] = at[order]
        self._value[point[order]] = value[order]
        self._changed[point] = True

    def take(self, limit: int) -> LatestColumns | None:
        """Return what has changed and was not taken yet, up to a number of points."""
        points = np.flatnonzero(self._changed)[:limit].astype(np.int32)
        if not len(points):
            return None
        self._changed[points] = False
        return LatestColumns(points, self._at[points], self._value[points])

    def _grow(self, size: int) -> None:
        """Make room for points up to a number."""
        if size <= len(self._at):
            return
        more = max(size, 2 * len(self._at)) - len(self._at)
        self._at = np.pad(self._at, (0, more))
        self._value = np.pad(self._value, (0, more))
        self._changed = np.pad(self._changed, (0, more))


@dataclass(slots=True)
class LatestSaver:
    """Collects latest values and clock skews, and writes them when they are due."""

    every_s: float
    #: When they are written next, monotonic seconds.
    due_at: float = 0.0
    _values: LatestValues = field(default_factory=LatestValues)
    _skews: dict[int, int] = field(default_factory=dict)

    def collect(self, readings: ReadingColumns | None, skews: dict[int, int]) -> None:
        """Add what a batch has brought: readings, and skews in ms by gateway's id."""
        if readings is not None:
            self._values.offer(readings)
        for gateway_id, skew in skews.items():
            # A delay makes a clock look slow, never fast: the largest is nearest to the truth.
            self._skews[gateway_id] = max(skew, self._skews.get(gateway_id, skew))

    def save(self, ledger: LaneLedger, now: float) -> None:
        """Write what has been collected, and set when the next is due.

        Raises: Unavailable.
        """
        self.due_at = now + self.every_s
        latest = self._values.take(POINTS_PER_SAVE)
        skews = self._skews
        if latest is None and not skews:
            return
        if latest is not None and len(latest.point) == POINTS_PER_SAVE:
            self.due_at = now + NEXT_SAVE_S
        self._skews = {}
        try:
            with ledger.batch(SAVE_SECONDS):
                if skews:
                    ledger.save_skew(skews)
                if latest is not None:
                    ledger.keep_latest(latest.point, latest.at, latest.value)
                ledger.commit()
        except SerializationConflict:
            # The next value of each point makes up for it.
            return
