"""When messages arrived: by our clock, or, of an estate that is played from a recording, when sent.

What was known on a night of the past rests on it: a reading that came late is not counted before
it came.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from domain.calendar import HOUR_MS
from ingest.columns import Columns
from store.ingest.log import DirtySpans
from store.register.placement import Placement
from store.series.readings import ReadingColumns

#: A reading counts as having come at once up to so many seconds after it was taken.
AT_ONCE_S = 900


@dataclass(slots=True)
class Arrivals:
    """When the messages of a batch arrived, ms UTC, by their positions in the batch.

    A message that is not noted arrived at `now_ms`.
    """

    now_ms: int
    _sent_at: dict[int, int] = field(default_factory=dict)

    def note(self, position: int, sent_at: int | None, *, as_sent: bool) -> None:
        """Note that a message of a recording arrived when it was sent."""
        if as_sent and sent_at is not None and sent_at < self.now_ms:
            self._sent_at[position] = sent_at

    def at(self, position: int) -> int:
        """Return when a message arrived, ms UTC."""
        return self._sent_at.get(position, self.now_ms)

    def note_columns(self, columns: Columns) -> None:
        """Note the messages that came the fast way.

        One that does not say when it was sent was sent at its newest reading.
        """
        for message, route in enumerate(columns.routes):
            if route.gateway.as_sent:
                sent_at = columns.sent_at[message] or columns.newest_at(message)
                self.note(columns.positions[message], sent_at, as_sent=True)

    def of_positions(self, positions: list[int]) -> NDArray[np.int64]:
        """Return when the messages at some positions arrived, ms UTC."""
        if not self._sent_at:
            return np.full(len(positions), self.now_ms, dtype=np.int64)
        return np.array([self.at(position) for position in positions], dtype=np.int64)


def late_seconds(at: NDArray[np.int64], received_at: NDArray[np.int64]) -> NDArray[np.int32] | None:
    """Return how many seconds after it was taken each reading arrived, or None where all are 0.

    Readings that came at once count as 0. Both arrays are ms UTC and of one length.
    """
    late = np.clip((received_at - at) // 1000, 0, 2**31 - 1).astype(np.int32)
    late[late <= AT_ONCE_S] = 0
    return late if late.any() else None


def changed_spans(
    placement: Placement, readings: ReadingColumns, received_at: NDArray[np.int64]
) -> DirtySpans:
    """Return which devices' series some readings change, between which instants.

    There is one span for each device and hour of arrival. `received_at` is ms UTC, of the same
    length as the readings.
    """
    device = placement.device_of[readings.point]
    hour = received_at // HOUR_MS
    order = np.lexsort((hour, device))
    device = device[order]
    hour = hour[order]
    at = readings.at[order]
    is_first = (device[1:] != device[:-1]) | (hour[1:] != hour[:-1])
    begins = np.flatnonzero(np.r_[True, is_first])
    return DirtySpans(
        device=device[begins],
        estate=placement.estate_of[readings.point[order][begins]],
        low=np.minimum.reduceat(at, begins),
        high=np.maximum.reduceat(at, begins),
        received=np.maximum.reduceat(received_at[order], begins),
    )
