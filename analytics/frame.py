"""The dense frame that detectors read: facts of some units of one estate over a window of days, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000.0
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Who was seen at units, as columns of one length: the unit's row, the day's column, a hash, who (store.unit_days.Who), night."""

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    token: NDArray[np.int64]
    who: NDArray[np.int8]
    night: Mask


def unpack(unit: NDArray[np.int64], day: NDArray[np.int64], token: NDArray[np.int64]) -> Tokens:
    """Read packed tokens (see store.unit_days) at their units' rows and days' columns."""
    who, night = (token >> 1 & 3).astype(np.int8), (token & 1) == 1
    return Tokens(unit=unit, day=day, token=token & ~7, who=who, night=night)


def no_tokens() -> Tokens:
    """Return the tokens of a frame without doors."""
    none = np.empty(0, dtype=np.int64)
    return Tokens(unit=none, day=none, token=none, who=none.astype(np.int8), night=none.astype(bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that somebody told of a unit: a tip-off, a fact of another office, a fault of its meter."""

    unit: int
    day: int
    source: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Facts as arrays of shape (units, days); NaN is "not known", never zero.

    `units` are ids, `first` is the local day of column 0, and `day_starts` (days + 1, ms UTC) are its bounds. Instants
    in the columns (`…_at`) are ms UTC. `let`, `declared` say which days fall into a tenancy or a declared absence or repair;
    `spoken_for` those of a declared guest or carer. `let_since` is the column on which the tenancy of a day began (it may lie
    before the frame, and is negative then), `ended` the column of the last day of the last tenancy before a day that is
    not let (NaN where none is known). `members` counts the registered residents. `fitted` says on which days a family
    (water, energy, door: any door; lock: the unit's own) had a device at the unit.
    """

    units: NDArray[np.int32]
    first: date
    day_starts: NDArray[np.float64]
    columns: dict[str, NDArray[Any]]
    let: Mask
    declared: Mask
    spoken_for: Mask
    let_since: NDArray[np.float32]
    ended: NDArray[np.float32]
    members: NDArray[np.float32]
    fitted: dict[str, Mask]
    tokens: Tokens = field(default_factory=no_tokens)
    told: tuple[Told, ...] = ()
    #: What several detectors derive from the columns alike, kept while the frame lives; never what one of them concludes.
    derived: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def days(self) -> int:
        """How many days the frame spans."""
        return len(self.day_starts) - 1

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def day(self, index: int) -> date:
        """Return the local day of a column."""
        return self.first + timedelta(days=index)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """List the [start, end) index spans over which a 1-d mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def runs_of(mask: Mask, least: int) -> list[tuple[int, int, int]]:
    """List (row, start, end) of the spans of at least `least` columns over which a 2-d mask holds, row by row."""
    units, days = mask.shape
    padded = np.zeros((units, days + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1)
    row, start = np.nonzero(step == 1)
    _, end = np.nonzero(step == -1)
    long = end - start >= least
    return list(zip(row[long].tolist(), start[long].tolist(), end[long].tolist(), strict=True))


def rolling(values: NDArray[Any], days: int) -> NDArray[np.float32]:
    """Sum over the last `days` columns, each day's own included; NaN counts as nothing."""
    total = np.cumsum(np.nan_to_num(values.astype(np.float32)), axis=1, dtype=np.float64)
    out = total.copy()
    out[:, days:] -= total[:, :-days]
    return out.astype(np.float32)
