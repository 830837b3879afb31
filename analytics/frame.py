"""The dense frame that detectors read: facts of some units of one estate over a window of days, as numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Who was seen at units, as columns of one length in the order of units: the unit's row, the day's column, a hash, who
    (domain.people.Who), night.
    """

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    token: NDArray[np.int64]
    who: NDArray[np.int8]
    night: Mask

    def __post_init__(self) -> None:
        if (self.unit[1:] < self.unit[:-1]).any():
            raise ValueError("tokens must stand in the order of their units: use in_order")

    def of(self, unit: int) -> Tokens:
        """Return what was seen at one unit."""
        a, b = np.searchsorted(self.unit, (unit, unit + 1))
        return self.at(slice(a, b))

    def at(self, rows: Any) -> Tokens:
        """Return some of the rows."""
        return Tokens(
            unit=self.unit[rows],
            day=self.day[rows],
            token=self.token[rows],
            who=self.who[rows],
            night=self.night[rows],
        )


def unpack(unit: NDArray[np.int64], day: NDArray[np.int64], token: NDArray[np.int64]) -> Tokens:
    """Read packed tokens (see store.series.unit_days) at their units' rows and days' columns."""
    who, night = (token >> 1 & 3).astype(np.int8), (token & 1) == 1
    return in_order(unit, day, token & ~7, who, night)


def in_order(
    unit: NDArray[np.int64],
    day: NDArray[np.int64],
    token: NDArray[np.int64],
    who: NDArray[np.int8],
    night: Mask,
) -> Tokens:
    """Make tokens of rows in any order."""
    at = np.argsort(unit, kind="stable")
    return Tokens(unit=unit[at], day=day[at], token=token[at], who=who[at], night=night[at])


def no_tokens() -> Tokens:
    """Return the tokens of a frame without doors."""
    none = np.empty(0, dtype=np.int64)
    return Tokens(
        unit=none, day=none, token=none, who=none.astype(np.int8), night=none.astype(bool)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideReport:
    """Something that somebody told of a unit: a tip-off, a fact of another office, a fault of its meter."""

    unit: int
    day: int
    source: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDayFrame:
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
    columns: Mapping[str, NDArray[Any]]
    let: Mask
    declared: Mask
    spoken_for: Mask
    let_since: NDArray[np.float32]
    ended: NDArray[np.float32]
    members: NDArray[np.float32]
    fitted: dict[str, Mask]
    tokens: Tokens = field(default_factory=no_tokens)
    #: The last day is not over: `day_starts` ends where what is known ends, and cover is a share of the time that has passed.
    partial: bool = False
    told: tuple[OutsideReport, ...] = ()
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

    def until(self, days: int) -> UnitDayFrame:
        """Return the first days of the frame, as it was when they were over."""
        t = self.tokens
        return replace(
            self,
            partial=self.partial and days == self.days,
            day_starts=self.day_starts[: days + 1],
            columns={name: column[:, :days] for name, column in self.columns.items()},
            let=self.let[:, :days],
            declared=self.declared[:, :days],
            spoken_for=self.spoken_for[:, :days],
            let_since=self.let_since[:, :days],
            ended=self.ended[:, :days],
            members=self.members[:, :days],
            fitted={name: mask[:, :days] for name, mask in self.fitted.items()},
            tokens=t.at(t.day < days),
            told=tuple(x for x in self.told if x.day < days),
            derived={},
        )

    def of(self, rows: NDArray[np.int64]) -> UnitDayFrame:
        """Return the frame of some of its units, by their rows in rising order."""
        place = {int(row): i for i, row in enumerate(rows)}
        t = self.tokens
        begin, end = np.searchsorted(t.unit, rows), np.searchsorted(t.unit, rows + 1)
        count = end - begin
        kept = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
        return replace(
            self,
            units=self.units[rows],
            columns=_Some(self.columns, rows),
            let=self.let[rows],
            declared=self.declared[rows],
            spoken_for=self.spoken_for[rows],
            let_since=self.let_since[rows],
            ended=self.ended[rows],
            members=self.members[rows],
            fitted={name: mask[rows] for name, mask in self.fitted.items()},
            tokens=replace(t.at(kept), unit=np.repeat(np.arange(len(rows)), count)),
            told=tuple(replace(x, unit=place[x.unit]) for x in self.told if x.unit in place),
            derived={},
        )


class _Some(Mapping[str, NDArray[Any]]):
    """Columns of some rows, each copied when it is first asked for."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> None:
        self._whole, self._rows = whole, rows
        self._held: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._held:
            self._held[name] = self._whole[name][self._rows]
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


def often(mask: Mask, least: float) -> NDArray[np.int64]:
    """Return the rows in which a mask holds on so many days or more: where that is rare, only they are worth a closer look."""
    return np.flatnonzero(count(mask) >= least)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """List the [start, end) index spans over which a 1-d mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def runs_of(mask: Mask, least: int) -> list[tuple[int, int, int]]:
    """List (row, start, end) of the spans of at least `least` columns over which a 2-d mask holds, row by row."""
    units, days = mask.shape
    padded = np.zeros((units, days + 2), dtype=bool)
    padded[:, 1:-1] = mask
    # Every second change within a row is an end.
    edges = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    row, edge = np.divmod(edges, days + 1)
    start, end = edge[::2], edge[1::2]
    long = end - start >= least
    return list(zip(row[::2][long].tolist(), start[long].tolist(), end[long].tolist(), strict=True))


def rolling(counts: NDArray[Any], days: int, *, ahead: bool = False) -> NDArray[Any]:
    """Count over the last `days` columns, each day's own included, or over the next; `counts` is a mask or small whole numbers.

    The sums over one day, two, four, … are added up: the processor does dozens of bytes at a time.
    """
    units, width = counts.shape
    kind = np.uint8 if counts.dtype == bool and days < 256 else np.uint16
    part = np.zeros((units, width + days - 1), dtype=kind)
    begin = 0 if ahead else days - 1
    part[:, begin : begin + width] = counts
    out = np.zeros((units, width), dtype=kind)
    at, size, rest = 0, 1, days
    while True:
        if rest & 1:
            out += part[:, at : at + width]
            at += size
        rest >>= 1
        if not rest:
            return out
        part = part[:, size:] + part[:, :-size]
        size *= 2


def count(mask: Mask) -> NDArray[np.uint16]:
    """Count the days on which a mask holds, row by row (numpy's own count along an axis takes three times as long)."""
    out: NDArray[np.uint16] = np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.uint16)
    return out
