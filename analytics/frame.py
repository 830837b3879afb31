"""The frame that detectors read: facts of some units of one estate over a window of days."""

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
    """Who was seen at units, as arrays of shape (tokens,), in the order of units.

    Raises: ValueError: they are in another order.
    """

    unit: NDArray[np.int64]
    """The row of the unit."""
    day: NDArray[np.int64]
    """The column of the day."""
    token: NDArray[np.int64]
    """A hash; it can be compared within a unit only."""
    person_kind: NDArray[np.int8]
    """A `domain.people.PersonKind`."""
    night: Mask
    """Whether the night was spent there."""

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
            person_kind=self.person_kind[rows],
            night=self.night[rows],
        )


def unpack(unit: NDArray[np.int64], day: NDArray[np.int64], token: NDArray[np.int64]) -> Tokens:
    """Read packed tokens (see store.series.unit_days), in any order.

    `unit` are rows and `day` are columns of arrays of shape (units, days).
    """
    person_kind = (token >> 1 & 3).astype(np.int8)
    night = (token & 1) == 1
    return in_order(unit, day, token & ~7, person_kind, night)


def in_order(
    unit: NDArray[np.int64],
    day: NDArray[np.int64],
    token: NDArray[np.int64],
    person_kind: NDArray[np.int8],
    night: Mask,
) -> Tokens:
    """Make tokens of arrays in any order."""
    order = np.argsort(unit, kind="stable")
    return Tokens(
        unit=unit[order],
        day=day[order],
        token=token[order],
        person_kind=person_kind[order],
        night=night[order],
    )


def no_tokens() -> Tokens:
    """Return the tokens of a frame without doors."""
    none = np.empty(0, dtype=np.int64)
    return Tokens(
        unit=none,
        day=none,
        token=none,
        person_kind=none.astype(np.int8),
        night=none.astype(bool),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideReport:
    """Something that was reported of a unit: a tip-off, an outside fact, a fault of its meter."""

    unit: int
    """The row of the unit."""
    day: int
    """The column of the day; it may lie outside the frame."""
    source: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDayFrame:
    """Facts as arrays of shape (units, days); NaN is "not known", never zero."""

    units: NDArray[np.int32]
    """The ids of units, of shape (units,)."""
    first: date
    """The local day of column 0."""
    day_starts: NDArray[np.float64]
    """The bounds of days in ms UTC, of shape (days + 1,)."""
    columns: Mapping[str, NDArray[Any]]
    """By name, in the uom of the name's last part; `…_at` are ms UTC."""
    let: Mask
    """The days of a tenancy."""
    declared: Mask
    """The days of a declared absence or repair."""
    spoken_for: Mask
    """The days of a declared guest or carer."""
    let_since: NDArray[np.float32]
    """The column on which the tenancy of a day began; negative where it lies before the frame."""
    ended: NDArray[np.float32]
    """The column of the last day of the last tenancy before a day that is not let."""
    members: NDArray[np.float32]
    """How many residents are registered."""
    fitted: dict[str, Mask]
    """The days on which a family had a device at the unit: water, energy, lock, or any door."""
    tokens: Tokens = field(default_factory=no_tokens)
    partial: bool = False
    """The last day is not over. `day_starts` ends where what is known ends, and cover is a share of
    the time that has passed.
    """
    reports: tuple[OutsideReport, ...] = ()
    derived: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What several detectors derive from the columns alike; never what one of them concludes."""

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
            tokens=self.tokens.at(self.tokens.day < days),
            reports=tuple(report for report in self.reports if report.day < days),
            derived={},
        )

    def of(self, rows: NDArray[np.int64]) -> UnitDayFrame:
        """Return the frame of some of its units, by their rows in rising order."""
        return replace(
            self,
            units=self.units[rows],
            columns=_RowColumns(self.columns, rows),
            let=self.let[rows],
            declared=self.declared[rows],
            spoken_for=self.spoken_for[rows],
            let_since=self.let_since[rows],
            ended=self.ended[rows],
            members=self.members[rows],
            fitted={name: mask[rows] for name, mask in self.fitted.items()},
            tokens=self._tokens_of(rows),
            reports=self._reports_of(rows),
            derived={},
        )

    def _tokens_of(self, rows: NDArray[np.int64]) -> Tokens:
        """Return the tokens of some rows, with the places of the rows as units."""
        begin = np.searchsorted(self.tokens.unit, rows)
        count = np.searchsorted(self.tokens.unit, rows + 1) - begin
        first_place = np.cumsum(count) - count
        kept = np.repeat(begin - first_place, count) + np.arange(count.sum())
        return replace(self.tokens.at(kept), unit=np.repeat(np.arange(len(rows)), count))

    def _reports_of(self, rows: NDArray[np.int64]) -> tuple[OutsideReport, ...]:
        """Return the reports of some rows, with the places of the rows as units."""
        place_of = {row: place for place, row in enumerate(rows.tolist())}
        return tuple(
            replace(report, unit=place_of[report.unit])
            for report in self.reports
            if report.unit in place_of
        )


class _RowColumns(Mapping[str, NDArray[Any]]):
    """Columns of some rows, each copied when it is first asked for."""

    def __init__(self, whole: Mapping[str, NDArray[Any]], rows: NDArray[np.int64]) -> None:
        self._whole = whole
        self._rows = rows
        self._copies: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._copies:
            self._copies[name] = self._whole[name][self._rows]
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole)

    def __len__(self) -> int:
        return len(self._whole)


def often(mask: Mask, least: float) -> NDArray[np.int64]:
    """Return the rows in which a mask holds on at least so many days.

    Where that is rare, only these rows are worth a closer look.
    """
    return np.flatnonzero(count(mask) >= least)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """List the [start, end) index spans over which a 1-d mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def runs_of(mask: Mask, least: int) -> list[tuple[int, int, int]]:
    """List the (row, start, end) of spans of at least `least` columns in which a mask holds.

    The mask has the shape (units, days); the spans come row by row.
    """
    units, days = mask.shape
    padded = np.zeros((units, days + 2), dtype=bool)
    padded[:, 1:-1] = mask
    # Every second change within a row is an end.
    edges = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    row, edge = np.divmod(edges, days + 1)
    start = edge[::2]
    end = edge[1::2]
    long = end - start >= least
    return list(zip(row[::2][long].tolist(), start[long].tolist(), end[long].tolist(), strict=True))


def rolling(counts: NDArray[Any], days: int, *, ahead: bool = False) -> NDArray[Any]:
    """Add up `counts` over the last `days` columns, each day's own included, or over the next.

    `counts`, of shape (units, days), is a mask or small whole numbers. Sums over one day, two, four
    and so on are added up: the processor does dozens of bytes at a time.
    """
    units, width = counts.shape
    kind = np.uint8 if counts.dtype == bool and days < 256 else np.uint16
    part = np.zeros((units, width + days - 1), dtype=kind)
    begin = 0 if ahead else days - 1
    part[:, begin : begin + width] = counts
    out = np.zeros((units, width), dtype=kind)
    at = 0
    size = 1
    rest = days
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
    """Count the days on which a mask holds, row by row.

    It takes a third of the time of numpy's own count along an axis.
    """
    out: NDArray[np.uint16] = np.add.reduce(mask.view(np.uint8), axis=1, dtype=np.uint16)
    return out
