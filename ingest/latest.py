"""The latest value of each point, collected in memory and written every few seconds: what is late or replayed changes nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from store.series.readings import ReadingColumns


class Latest:
    """What one lane has read since it last wrote. Arrays are indexed by point."""

    def __init__(self) -> None:
        self._at: NDArray[np.int64] = np.zeros(1024, dtype=np.int64)
        self._value: NDArray[np.float64] = np.zeros(1024)
        self._changed: NDArray[np.bool_] = np.zeros(1024, dtype=bool)

    def offer(self, readings: ReadingColumns) -> None:
        """Keep what is newer than what is known."""
        most = int(readings.point.max(initial=-1))
        if most >= len(self._at):
            more = max(most + 1, 2 * len(self._at)) - len(self._at)
            self._at, self._value = np.pad(self._at, (0, more)), np.pad(self._value, (0, more))
            self._changed = np.pad(self._changed, (0, more))
        newer = readings.at > self._at[readings.point]
        at, point, value = readings.at[newer], readings.point[newer], readings.value[newer]
        # Of several values of one point the newest is assigned last.
        order = np.argsort(at, kind="stable")
        self._at[point[order]], self._value[point[order]] = at[order], value[order]
        self._changed[point] = True

    def take(
        self, most: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]] | None:
        """Return what changed and was not taken yet, up to a number of points: points, times, values."""
        points = np.flatnonzero(self._changed)[:most].astype(np.int32)
        if not len(points):
            return None
        self._changed[points] = False
        return points, self._at[points], self._value[points]
