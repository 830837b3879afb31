"""When what a batch holds arrived: by our clock, or, of an estate that is played from a recording, when it was sent.

What was known on a night of the past rests on it: a reading that came late is not counted before it came.
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

#: Up to so many seconds after it was taken a reading counts as having come at once.
AT_ONCE_S = 900


@dataclass(slots=True)
class Arrivals:
    """The instants at which messages arrived, ms; `now_ms` for those that are not named."""

    now_ms: int
    _sent: dict[int, int] = field(default_factory=dict)

    def note(self, frame: int, sent_at: int | None, *, as_sent: bool) -> None:
        """Note a message by its frame's identity."""
        if as_sent and sent_at is not None and sent_at < self.now_ms:
            self._sent[frame] = sent_at

    def of(self, frame: int) -> int:
        """Return when a message arrived."""
        return self._sent.get(frame, self.now_ms)

    def of_columns(self, columns: Columns) -> NDArray[np.int64]:
        """Return for every message of the columns when it arrived; one that does not say when it was sent, at its newest reading."""
        ends = [*columns.begins[1:], len(columns)] if columns.begins else []
        for frame, route, sent_at, a, b in zip(
            columns.frames, columns.routes, columns.sent_at, columns.begins, ends, strict=True
        ):
            if route.gateway.as_sent:
                self.note(id(frame), sent_at or max(columns.at[a:b], default=None), as_sent=True)
        if not self._sent:
            return np.full(len(columns.frames), self.now_ms, dtype=np.int64)
        return np.array([self.of(id(frame)) for frame in columns.frames], dtype=np.int64)


def late_seconds(at: NDArray[np.int64], received: NDArray[np.int64]) -> NDArray[np.int32] | None:
    """Return how many seconds after it was taken each reading arrived, 0 for those that came at once; None where all did."""
    late = np.clip((received - at) // 1000, 0, 2**31 - 1).astype(np.int32)
    late[late <= AT_ONCE_S] = 0
    return late if late.any() else None


def changed(placement: Placement, batch: ReadingColumns, received: NDArray[np.int64]) -> DirtySpans:
    """Return which devices' series a batch of readings changes, between which instants, by when it arrived."""
    device = placement.device_of[batch.point]
    hour = received // HOUR_MS
    order = np.lexsort((hour, device))
    device, hour, at, received = device[order], hour[order], batch.at[order], received[order]
    begins = np.flatnonzero(np.r_[True, (device[1:] != device[:-1]) | (hour[1:] != hour[:-1])])
    return DirtySpans(
        device=device[begins],
        estate=placement.estate_of[batch.point[order][begins]],
        low=np.minimum.reduceat(at, begins),
        high=np.maximum.reduceat(at, begins),
        received=np.maximum.reduceat(received, begins),
    )
