"""The dense frame that detectors read: facts of some units of one estate over a window of days, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Facts as arrays of shape (units, days); NaN is "not known", never zero.

    `units` are ids, `first` is the local day of column 0, and `day_starts` (days + 1, ms UTC) are its bounds. Instants
    in the columns (`…_at`) are ms UTC. `let`, `declared` say which days fall into a tenancy or a declared absence.
    """

    units: NDArray[np.int32]
    first: date
    day_starts: NDArray[np.float64]
    columns: dict[str, NDArray[np.float64]]
    let: NDArray[np.bool_]
    declared: NDArray[np.bool_]

    @property
    def days(self) -> int:
        """How many days the frame spans."""
        return len(self.day_starts) - 1

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        return self.columns[name]

    def day(self, index: int) -> date:
        """Return the local day of a column."""
        return self.first + timedelta(days=index)


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List the [start, end) index spans over which a 1-d mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
