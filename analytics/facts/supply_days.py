"""The facts of one supply by unit and day: how much, how surely, and when the tap last ran.

Consumption is shared over the days that an interval spans. How much of a day is known is kept apart
from it (`cover`), and so are the instants between which nothing flowed, or something always did.
A day of which nothing is known has no number at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.facts.intervals import Intervals, Quality
from domain.calendar import DAY_MS, HOUR_MS

#: An interval longer than this says how much was used, not when: an estimate for each of its days.
OBSERVED_H = 3.0
#: An interval without use proves a quiet time up to this length; a dead meter looks the same.
PROVEN_H = 72.0
#: Shorter intervals are too short for a rate. Those over OBSERVED_H are too long: their mean hides
#: the hours of rest.
_SHORTEST_RATED_H = 1 / 6
#: Litres within one interval up to which water is a drip, or a last digit that trembles.
TRICKLE_L = 2.0
#: m³ a day across a gap from which people lived there all the time.
_LIVED_IN_M3 = 0.04
_ROUNDING = 1e-9
HOURS = 24

Floats = NDArray[np.float64]
DayFaults = dict[tuple[int, int], set[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRules:
    """What is known of each series beside its readings, as arrays of shape (series,)."""

    unit: NDArray[np.int64]
    """The row of its unit."""
    trickle: Floats
    """The most within one interval, in the register's uom, that counts as no one's use."""
    observed_ms: Floats
    """The longest interval that counts as observed; at least OBSERVED_H does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """When readings were taken, as arrays of shape (readings,)."""

    unit: NDArray[np.int64]
    """The row of the unit."""
    at: Floats
    """ms UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyDays:
    """Facts of one supply as arrays of shape (units, days); NaN is "not known"."""

    amount: Floats
    """What was used, in the register's uom."""
    cover: Floats
    """The share of the day that was observed, 0 to 1."""
    trickle: Floats
    """What was used in intervals that count as no one's use, in the register's uom."""
    least_rate: Floats
    """The least use in any short interval, uom/h."""
    most_rate: Floats
    """The greatest use in any short interval, uom/h."""
    first_use: Floats
    """The start of the first interval with use, ms UTC."""
    last_use: Floats
    """The end of the last interval with use, ms UTC."""
    first_still: Floats
    """The start of the first short interval without any use, ms UTC."""
    last_still: Floats
    """The end of the last short interval without any use, ms UTC."""
    samples: NDArray[np.int64]
    """How many readings were taken."""
    hourly: Floats
    """What was used by local hour, in the register's uom, of shape (units, days, 24)."""
    faults: DayFaults
    """What was wrong with meters, by unit row and day column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Intervals cut at midnight: arrays of shape (parts,)."""

    interval: NDArray[np.int64]
    """The index of the whole interval."""
    cell: NDArray[np.int64]
    """The unit's row times the number of days, plus the day's column."""
    overlap: Floats
    """How much of the day it fills, ms."""
    units: int
    days: int

    def total(self, mask: NDArray[np.bool_], weight: Floats) -> Floats:
        """Add up weights of parts by unit and day."""
        cells = self.units * self.days
        summed = np.bincount(self.cell[mask], weights=weight[mask], minlength=cells)
        return summed.astype(np.float64).reshape(self.units, self.days)

    def least(self, mask: NDArray[np.bool_], value: Floats) -> Floats:
        """Return the least value by unit and day; NaN where there is none."""
        least = np.full(self.units * self.days, np.inf)
        np.minimum.at(least, self.cell[mask], value[mask])
        least[np.isinf(least)] = np.nan
        return least.reshape(self.units, self.days)

    def greatest(self, mask: NDArray[np.bool_], value: Floats) -> Floats:
        """Return the greatest value by unit and day; NaN where there is none."""
        greatest = np.full(self.units * self.days, -np.inf)
        np.maximum.at(greatest, self.cell[mask], value[mask])
        greatest[np.isinf(greatest)] = np.nan
        return greatest.reshape(self.units, self.days)


def share_over_days(
    intervals: Intervals, rules: SeriesRules, samples: Samples, units: int, day_starts: Floats
) -> SupplyDays:
    """Share intervals over days; `day_starts`, of shape (days + 1,), are ms UTC."""
    parts = _cut_at_midnight(intervals, rules, units, day_starts)
    series = intervals.series[parts.interval]
    start = intervals.start[parts.interval]
    end = intervals.end[parts.interval]
    delta = intervals.delta[parts.interval]
    length = end - start

    known = ~np.isnan(delta)
    longest_observed = np.maximum(rules.observed_ms[series], OBSERVED_H * HOUR_MS)
    proven_quiet = (delta == 0) & (length <= PROVEN_H * HOUR_MS)
    observed = known & ((length <= longest_observed) | proven_quiet)
    trickles = known & (delta <= rules.trickle[series] + _ROUNDING)
    # Across a gap it is not known on which day the tap ran. With much use it ran on most days.
    lived_in = delta >= _LIVED_IN_M3 * length / DAY_MS
    used = known & ~trickles & (observed | lived_in)
    rated = known & _is_rated(length)
    still = rated & (delta <= 0)

    share = delta * parts.overlap / length
    rate = delta / (length / HOUR_MS)
    amount = parts.total(known, share)
    amount[parts.total(known, np.ones(len(known))) == 0] = np.nan
    return SupplyDays(
        amount=amount,
        cover=np.minimum(parts.total(observed, parts.overlap) / np.diff(day_starts), 1.0),
        trickle=parts.total(trickles, share),
        least_rate=parts.least(rated, rate),
        most_rate=parts.greatest(rated, rate),
        first_use=parts.least(used, start),
        last_use=parts.greatest(used, end),
        first_still=parts.least(still, start),
        last_still=parts.greatest(still, end),
        samples=_count_samples(samples, units, day_starts),
        hourly=_share_over_hours(intervals, rules, parts.interval[rated], units, day_starts),
        faults=_name_faults(intervals, rules, parts, day_starts),
    )


def _is_rated(length: Floats) -> NDArray[np.bool_]:
    """Tell which interval lengths (ms) allow a rate."""
    return (length >= _SHORTEST_RATED_H * HOUR_MS) & (length <= OBSERVED_H * HOUR_MS)


def _cut_at_midnight(
    intervals: Intervals, rules: SeriesRules, units: int, day_starts: Floats
) -> _Parts:
    days = len(day_starts) - 1
    interval, day = _cut(intervals.start, intervals.end, day_starts)
    unit = rules.unit[intervals.series[interval]]
    part_start = np.maximum(intervals.start[interval], day_starts[day])
    part_end = np.minimum(intervals.end[interval], day_starts[day + 1])
    return _Parts(
        interval=interval,
        cell=unit * days + day,
        overlap=part_end - part_start,
        units=units,
        days=days,
    )


def _cut(start: Floats, end: Floats, grid: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Repeat each interval once for every cell of a grid of instants that it touches.

    Returns the interval's index and the cell's, in pairs.
    """
    cells = len(grid) - 1
    first = np.searchsorted(grid, start, side="right") - 1
    last = np.searchsorted(grid, end, side="left") - 1
    low = np.clip(first, 0, cells - 1)
    high = np.clip(last, 0, cells - 1)
    is_outside = (last < 0) | (first >= cells)
    count = np.where(is_outside, 0, high - low + 1)
    interval = np.repeat(np.arange(len(start)), count)
    first_place = np.repeat(np.cumsum(count) - count, count)
    offset = np.arange(len(interval)) - first_place
    return interval, low[interval] + offset


def _share_over_hours(
    intervals: Intervals,
    rules: SeriesRules,
    rated: NDArray[np.int64],
    units: int,
    day_starts: Floats,
) -> Floats:
    """Share rated intervals over the hours of local days; returns shape (units, days, 24).

    NaN is where less than half an hour is known. The last hour of a day of 25 hours is two hours
    long; a day of 23 hours has none.
    """
    days = len(day_starts) - 1
    hour_starts = day_starts[:-1, None] + float(HOUR_MS) * np.arange(HOURS)
    grid = np.append(np.minimum(hour_starts, day_starts[1:, None]).ravel(), day_starts[-1])
    is_rated = np.zeros(len(intervals), dtype=bool)
    is_rated[rated] = True
    series = intervals.series[is_rated]
    start = intervals.start[is_rated]
    end = intervals.end[is_rated]
    delta = intervals.delta[is_rated]

    interval, hour = _cut(start, end, grid)
    part_end = np.minimum(end[interval], grid[hour + 1])
    part_start = np.maximum(start[interval], grid[hour])
    overlap = np.maximum(part_end - part_start, 0.0)
    share = delta[interval] * overlap / (end - start)[interval]
    cell = rules.unit[series[interval]] * (days * HOURS) + hour
    cells = units * days * HOURS
    amount = np.bincount(cell, weights=share, minlength=cells)
    known_ms = np.bincount(cell, weights=overlap, minlength=cells)
    hourly: Floats = np.where(known_ms >= HOUR_MS / 2, amount, np.nan)
    return hourly.reshape(units, days, HOURS)


def _name_faults(
    intervals: Intervals, rules: SeriesRules, parts: _Parts, day_starts: Floats
) -> DayFaults:
    """Name what was wrong with the meters of each unit row and day column."""
    faults: DayFaults = {}
    quality = intervals.quality[parts.interval]
    for kind in (Quality.RESET, Quality.IMPLAUSIBLE, Quality.ROLLOVER):
        for cell in np.unique(parts.cell[quality == kind]).tolist():
            faults.setdefault(divmod(cell, parts.days), set()).add(kind.name.lower())
    misread_unit = rules.unit[intervals.misread_series].tolist()
    misread_day = (np.searchsorted(day_starts, intervals.misread_at, side="right") - 1).tolist()
    for unit, day in zip(misread_unit, misread_day, strict=True):
        if 0 <= day < parts.days:
            faults.setdefault((unit, day), set()).add("misread")
    return faults


def _count_samples(samples: Samples, units: int, day_starts: Floats) -> NDArray[np.int64]:
    """Count readings by unit and day."""
    days = len(day_starts) - 1
    day = np.searchsorted(day_starts, samples.at, side="right") - 1
    is_inside = (day >= 0) & (day < days)
    cell = samples.unit[is_inside] * days + day[is_inside]
    return np.bincount(cell, minlength=units * days).reshape(units, days)
