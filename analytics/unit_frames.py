"""Frames of unit-days made and cut: facts with what the register knows laid over their days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, OutsideReport, Tokens, UnitDayFrame
from domain.calendar import HOUR_MS, day_start, day_starts_ms
from store.register.homes import Homes

FAMILIES = ("water", "energy", "door", "lock")
#: So much of a day must be known before it counts while it lasts.
LEAST_KNOWN_MS = 4 * HOUR_MS
#: What each kind of declaration covers: an absence or a repair, or people who come and go.
_DECLARED_AS = {
    "absence": "declared",
    "repair": "declared",
    "guest": "spoken_for",
    "carer": "spoken_for",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """Facts of units over days."""

    units: Sequence[int]
    first: date
    columns: Mapping[str, NDArray[Any]]
    """Arrays of shape (units, days) by name."""
    tokens: Tokens
    faults: Mapping[tuple[int, int], Sequence[str]]
    """What was wrong with meters, by row and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """Where units and days stand in arrays of shape (units, days)."""

    row_of: Mapping[int, int]
    first: date
    days: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.row_of), self.days

    def column(self, day: date) -> int:
        """Return the column of a day, also of one outside."""
        return (day - self.first).days

    def clip(self, column: int) -> int:
        return min(max(column, 0), self.days)

    def columns(self, since: date, until: date | None) -> slice:
        """Return the columns of the days from `since` to `until`, both included."""
        begin = self.clip(self.column(since))
        if until is None:
            return slice(begin, self.days)
        return slice(begin, self.clip(self.column(until) + 1))


def make_frame(facts: UnitFacts, homes: Homes, zone: ZoneInfo) -> UnitDayFrame:
    """Lay what the register knows of homes over the days of facts."""
    shape = next(iter(facts.columns.values())).shape
    grid = _Grid(
        row_of={unit: row for row, unit in enumerate(facts.units)},
        first=facts.first,
        days=shape[1],
    )
    let, let_since, ended = _lay_tenancies(grid, homes)
    declared = _lay_declarations(grid, homes)
    return UnitDayFrame(
        units=np.array(facts.units, dtype=np.int32),
        first=facts.first,
        day_starts=np.array(day_starts_ms(facts.first, grid.days, zone), dtype=np.float64),
        columns=facts.columns,
        let=let,
        declared=declared["declared"],
        spoken_for=declared["spoken_for"],
        let_since=let_since,
        ended=ended,
        members=_count_members(grid, homes),
        fitted=_lay_devices(grid, homes, zone),
        tokens=facts.tokens,
        reports=(*_outside_reports(grid, homes), *_meter_reports(facts)),
    )


def _lay_tenancies(
    grid: _Grid, homes: Homes
) -> tuple[Mask, NDArray[np.float32], NDArray[np.float32]]:
    """Return the arrays `let`, `let_since` and `ended` of a frame."""
    let = np.zeros(grid.shape, dtype=bool)
    let_since = np.full(grid.shape, np.nan, dtype=np.float32)
    ended = np.full(grid.shape, np.nan, dtype=np.float32)
    for unit, since, until in homes.tenancies:
        row = grid.row_of[unit]
        columns = grid.columns(since, until)
        let[row, columns] = True
        let_since[row, columns] = grid.column(since)
        if until is not None:
            last = grid.column(until)
            ended[row, grid.clip(last + 1) :] = last
    return let, let_since, ended


def _lay_declarations(grid: _Grid, homes: Homes) -> dict[str, Mask]:
    """Return the masks `declared` and `spoken_for` of a frame."""
    masks = {name: np.zeros(grid.shape, dtype=bool) for name in set(_DECLARED_AS.values())}
    for unit, kind, since, until in homes.declarations:
        if kind in _DECLARED_AS:
            masks[_DECLARED_AS[kind]][grid.row_of[unit], grid.columns(since, until)] = True
    return masks


def _count_members(grid: _Grid, homes: Homes) -> NDArray[np.float32]:
    """Count the registered residents by unit and day."""
    members = np.zeros(grid.shape, dtype=np.float32)
    for unit, since, until in homes.residents:
        if until is None or until >= since:
            members[grid.row_of[unit], grid.columns(since, until)] += 1
    return members


def _lay_devices(grid: _Grid, homes: Homes, zone: ZoneInfo) -> dict[str, Mask]:
    """Return on which days each family had a device at a unit; a lock is a door, too."""
    begin = day_start(grid.first, zone)
    fitted = {name: np.zeros(grid.shape, dtype=bool) for name in FAMILIES}
    for unit, family, since_at, until_at in homes.devices:
        first = max(0, (since_at - begin).days)
        end = grid.days if until_at is None else max(0, (until_at - begin).days + 1)
        fitted[family][grid.row_of[unit], first:end] = True
    fitted["door"] |= fitted["lock"]
    return fitted


def _outside_reports(grid: _Grid, homes: Homes) -> list[OutsideReport]:
    return [
        OutsideReport(unit=grid.row_of[unit], day=grid.column(day), source=source, kind=kind)
        for unit, source, kind, day in homes.told
    ]


def _meter_reports(facts: UnitFacts) -> list[OutsideReport]:
    return [
        OutsideReport(unit=row, day=column, source="meter", kind=word)
        for (row, column), words in sorted(facts.faults.items())
        for word in words
    ]


# Cut ---------------------------------------------------------------------------------------------


def cut_after(frame: UnitDayFrame, day: date) -> UnitDayFrame | None:
    """Cut a frame off after a day; None where the frame begins later."""
    days = (day - frame.first).days + 1
    return frame.until(min(days, frame.days)) if days >= 1 else None


def with_running_day(frame: UnitDayFrame, clock: datetime) -> UnitDayFrame:
    """Return a frame whose last day is not over, as far as that day is known.

    What is known of it ends with the latest reading of any unit; the cover of a unit is its share
    of that time. With less than LEAST_KNOWN_MS known the day is left out. A frame that ends before
    the day of `clock` is returned as it is.
    """
    last = frame.days - 1
    start = float(frame.day_starts[last])
    length = float(frame.day_starts[last + 1]) - start
    if not start <= clock.timestamp() * 1000 < start + length:
        return frame
    covers = {name: frame[name][:, last] for name in ("water_cover", "energy_cover")}
    known_share = max(float(np.nanmax(cover, initial=0.0)) for cover in covers.values())
    if known_share * length < LEAST_KNOWN_MS:
        return frame.until(last)
    columns = dict(frame.columns)
    for name, cover in covers.items():
        columns[name] = columns[name].copy()
        columns[name][:, last] = np.minimum(cover / known_share, 1.0)
    day_starts = frame.day_starts.copy()
    day_starts[-1] = start + known_share * length
    return replace(frame, columns=columns, day_starts=day_starts, partial=True, derived={})
