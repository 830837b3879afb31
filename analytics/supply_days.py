"""Unit-day facts from intervals: how much, how surely, and when the tap last ran.

Consumption is shared over the days that an interval spans; what is *known* of a day is kept apart from it (`cover`),
and so are the instants between which nothing, or always something, flowed. A day of which nothing is known has no
number at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.intervals import Intervals, Quality
from domain.calendar import HOUR_MS
from domain.people import PersonKind
from store.series.unit_days import INSTANTS, NUMBERS, UnitDays

#: An interval longer than this says how much was used, not when: it is an estimate for each of its days.
OBSERVED_H = 3.0
#: Up to this long an interval without any use proves a quiet time; beyond it a dead meter looks the same.
PROVEN_H = 72.0
#: Intervals shorter than this are too short to tell a rate from; those over OBSERVED_H are too long: a day's mean hides its rests.
_RATE_H = 1 / 6
#: Litres within one interval up to which water is a trickle (a drip, the last digit trembling), not someone's use.
TRICKLE_L = 2.0
#: m³ a day across a gap from which people lived there all the time.
_LIVED_M3 = 0.04
#: Litres in an hour from which someone drew water in it.
_DRAWN_L = 0.5
#: Hours of the local day that are night for meters, and those of a working day.
_NIGHT, _DAY = slice(0, 5), slice(9, 18)


@dataclass(slots=True, kw_only=True)
class SupplyDays:
    """Facts of one supply as arrays of shape (units, days)."""

    amount: NDArray[np.float64]
    cover: NDArray[np.float64]
    trickle: NDArray[np.float64]
    least_rate: NDArray[np.float64]
    most_rate: NDArray[np.float64]
    first_use: NDArray[np.float64]
    last_use: NDArray[np.float64]
    first_still: NDArray[np.float64]
    last_still: NDArray[np.float64]
    samples: NDArray[np.int64]
    hourly: NDArray[np.float64]
    faults: dict[tuple[int, int], set[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Who came through the doors of units, as columns of one length: one row per unit, day and token (0: nobody could tell whose)."""

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    who: NDArray[np.int64]
    token: NDArray[np.int64]
    entries: NDArray[np.int64]
    exits: NDArray[np.int64]
    night: NDArray[np.int64]
    lent: NDArray[np.int64]


def supply_days(
    unit_of: NDArray[np.int64],
    intervals: Intervals,
    sample_unit: NDArray[np.int64],
    sample_at: NDArray[np.float64],
    units: int,
    day_starts: NDArray[np.float64],
    *,
    trickle: NDArray[np.float64],
    observed_h: NDArray[np.float64],
) -> SupplyDays:
    """Share intervals over (unit, day).

    `unit_of` maps a series to a unit's row; `trickle` (in the register's uom) and `observed_h` are per series.
    """
    days = len(day_starts) - 1
    which, day = _spread(intervals, day_starts)
    unit = unit_of[intervals.series[which]]
    start, end, delta = intervals.start[which], intervals.end[which], intervals.delta[which]
    span = end - start
    overlap = np.minimum(end, day_starts[day + 1]) - np.maximum(start, day_starts[day])
    known = ~np.isnan(delta)
    limit = np.maximum(observed_h[intervals.series[which]], OBSERVED_H) * HOUR_MS
    observed = known & ((span <= limit) | ((delta == 0) & (span <= PROVEN_H * HOUR_MS)))
    cell = unit * days + day

    def total(mask: NDArray[np.bool_], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = np.bincount(cell[mask], weights=weight[mask], minlength=units * days)
        return summed.astype(np.float64).reshape(units, days)

    def extreme(
        mask: NDArray[np.bool_], value: NDArray[np.float64], *, least: bool
    ) -> NDArray[np.float64]:
        out = np.full(units * days, np.inf if least else -np.inf)
        (np.minimum if least else np.maximum).at(out, cell[mask], value[mask])
        out[np.isinf(out)] = np.nan
        return out.reshape(units, days)

    amount = total(known, delta * overlap / span)
    amount[total(known, np.ones(len(cell))) == 0] = np.nan
    small = known & (delta <= trickle[intervals.series[which]] + 1e-9)
    # Across a gap it is not known on which day the tap ran, unless it ran so much that it must have been on most.
    used = known & ~small & (observed | (delta >= _LIVED_M3 * span / (24 * HOUR_MS)))
    rated = known & (span >= _RATE_H * HOUR_MS) & (span <= OBSERVED_H * HOUR_MS)
    rate = delta / (span / HOUR_MS)
    still = rated & (delta <= 0)
    return SupplyDays(
        amount=amount,
        cover=np.minimum(total(observed, overlap) / np.diff(day_starts), 1.0),
        trickle=total(small, delta * overlap / span),
        least_rate=extreme(rated, rate, least=True),
        most_rate=extreme(rated, rate, least=False),
        first_use=extreme(used, start, least=True),
        last_use=extreme(used, end, least=False),
        first_still=extreme(still, start, least=True),
        last_still=extreme(still, end, least=False),
        samples=_samples(sample_unit, sample_at, units, day_starts),
        hourly=_hourly(unit_of, intervals, rated, which, units, day_starts),
        faults=_faults(unit_of, intervals, unit, day, intervals.quality[which], day_starts),
    )


def _spread(
    intervals: Intervals, day_starts: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Repeat each interval once for every day that it touches; returns the interval's index and the day's, in pairs."""
    days = len(day_starts) - 1
    first = np.searchsorted(day_starts, intervals.start, side="right") - 1
    last = np.searchsorted(day_starts, intervals.end, side="left") - 1
    low, high = np.clip(first, 0, days - 1), np.clip(last, 0, days - 1)
    count = np.where((last < 0) | (first >= days), 0, high - low + 1)
    which = np.repeat(np.arange(len(intervals)), count)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return which, low[which] + offset


def _hourly(
    unit_of: NDArray[np.int64],
    intervals: Intervals,
    rated: NDArray[np.bool_],
    which: NDArray[np.int64],
    units: int,
    day_starts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Share the short intervals over the hours of local days: shape (units, days, 24), NaN where half an hour or more is unknown.

    A day of 25 hours has a last one of two; a day of 23 has none.
    """
    days = len(day_starts) - 1
    fine = np.zeros(len(intervals), dtype=bool)
    fine[which[rated]] = True
    grid = np.minimum(day_starts[:-1, None] + HOUR_MS * np.arange(24), day_starts[1:, None]).ravel()
    grid = np.append(grid, day_starts[-1])
    short = Intervals(
        series=intervals.series[fine],
        start=intervals.start[fine],
        end=intervals.end[fine],
        delta=intervals.delta[fine],
        quality=intervals.quality[fine],
        misread_series=intervals.misread_series,
        misread_at=intervals.misread_at,
    )
    piece, hour = _spread(short, grid)
    start, end = short.start[piece], short.end[piece]
    overlap = np.maximum(np.minimum(end, grid[hour + 1]) - np.maximum(start, grid[hour]), 0.0)
    cell = unit_of[short.series[piece]] * (days * 24) + hour
    size = units * days * 24
    amount = np.bincount(cell, weights=short.delta[piece] * overlap / (end - start), minlength=size)
    known = np.bincount(cell, weights=overlap, minlength=size)
    out: NDArray[np.float64] = np.where(known >= HOUR_MS / 2, amount, np.nan).reshape(
        units, days, 24
    )
    return out


def _faults(
    unit_of: NDArray[np.int64],
    intervals: Intervals,
    unit: NDArray[np.int64],
    day: NDArray[np.int64],
    quality: NDArray[np.int8],
    day_starts: NDArray[np.float64],
) -> dict[tuple[int, int], set[str]]:
    """Name what was wrong with the meters of each (unit, day)."""
    found: dict[tuple[int, int], set[str]] = {}
    for kind in (Quality.RESET, Quality.IMPLAUSIBLE, Quality.ROLLOVER):
        odd = quality == kind
        for u, d in set(zip(unit[odd].tolist(), day[odd].tolist(), strict=True)):
            found.setdefault((u, d), set()).add(kind.name.lower())
    misread_day = np.searchsorted(day_starts, intervals.misread_at, side="right") - 1
    for u, d in zip(unit_of[intervals.misread_series].tolist(), misread_day.tolist(), strict=True):
        if 0 <= d < len(day_starts) - 1:
            found.setdefault((u, d), set()).add("misread")
    return found


def _samples(
    unit: NDArray[np.int64], at: NDArray[np.float64], units: int, day_starts: NDArray[np.float64]
) -> NDArray[np.int64]:
    days = len(day_starts) - 1
    day = np.searchsorted(day_starts, at, side="right") - 1
    inside = (day >= 0) & (day < days)
    return np.bincount(unit[inside] * days + day[inside], minlength=units * days).reshape(
        units, days
    )


@dataclass(slots=True, kw_only=True)
class Dense:
    """Facts as arrays of shape (units, days), the packed tokens with their cells (row × days + day), and what was wrong with meters."""

    columns: dict[str, NDArray[np.float64]]
    cells: NDArray[np.int64]
    tokens: NDArray[np.int64]
    faults: dict[tuple[int, int], list[str]]
    known: NDArray[np.bool_]


def dense(
    water: SupplyDays,
    energy: SupplyDays,
    people: People,
    *,
    doors: NDArray[np.int64],
    cars: NDArray[np.int64],
) -> Dense:
    """Put the facts of supplies, doors and gates together.

    `people`, the rows of `doors` (unit, day: a door spoke) and of `cars` (unit, day, registered vehicles seen, inside by night)
    give units as rows and days as columns.
    """
    shape = water.amount.shape
    columns = {name: np.full(shape, np.nan) for name in (*NUMBERS, *INSTANTS)}
    columns |= _water(water) | _energy(energy)
    for name in _DOOR:
        columns[name][doors[:, 0], doors[:, 1]] = 0.0
    for name, column in (("cars_seen", 2), ("cars_nights", 3)):
        columns[name][cars[:, 0], cars[:, 1]] = cars[:, column]
    cells, tokens = _people(columns, people)
    known = (
        (water.samples > 0)
        | (energy.samples > 0)
        | (water.cover > 0)
        | (energy.cover > 0)
        | ~np.isnan(water.amount)
        | ~np.isnan(energy.amount)
        | ~np.isnan(columns["entries"])
        | ~np.isnan(columns["cars_seen"])
    )
    faults: dict[tuple[int, int], list[str]] = {}
    for prefix, supply in (("water", water), ("energy", energy)):
        for key, words in supply.faults.items():
            if known[key]:
                faults.setdefault(key, []).extend(f"{prefix}_{word}" for word in sorted(words))
    return Dense(columns=columns, cells=cells, tokens=tokens, faults=faults, known=known)


def to_unit_days(units: NDArray[np.int32], first: int, facts: Dense) -> UnitDays:
    """Turn arrays into rows, for the (unit, day) pairs of which anything at all is known; `first` counts the first day from 2000-01-01."""
    days = facts.known.shape[1]
    rows = np.flatnonzero(facts.known.ravel())
    place = np.full(facts.known.size, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    return UnitDays(
        unit=units[rows // days].astype(np.int32),
        day=(first + rows % days).astype(np.int32),
        columns={name: column.ravel()[rows] for name, column in facts.columns.items()},
        token_row=place[facts.cells],
        token=facts.tokens,
        faults=sorted((int(place[u * days + d]), words) for (u, d), words in facts.faults.items()),
    )


def _water(water: SupplyDays) -> dict[str, NDArray[np.float64]]:
    hourly = water.hourly * 1000.0
    known = ~np.isnan(hourly)
    least = np.where(known.any(axis=2), known.sum(axis=2), np.nan).astype(np.float64)
    some = ~np.isnan(least)
    night = known[:, :, _NIGHT].sum(axis=2) >= 4
    with np.errstate(invalid="ignore"):
        drawn = (hourly > _DRAWN_L).sum(axis=2)
    return {
        "water_l": water.amount * 1000.0,
        "water_cover": water.cover,
        "water_samples": water.samples.astype(np.float64),
        "water_trickle_l": np.where(np.isnan(water.amount), np.nan, water.trickle * 1000.0),
        "water_least_l_h": water.least_rate * 1000.0,
        "water_hours": np.where(some, drawn, np.nan),
        "water_hours_known": least,
        "water_night_l": np.where(night, np.nansum(hourly[:, :, _NIGHT], axis=2), np.nan),
        "water_peak_l": np.where(some, np.nanmax(np.where(known, hourly, 0.0), axis=2), np.nan),
        "water_first_use_at": water.first_use,
        "water_last_use_at": water.last_use,
        "water_first_still_at": water.first_still,
        "water_last_still_at": water.last_still,
    }


def _energy(energy: SupplyDays) -> dict[str, NDArray[np.float64]]:
    hourly = energy.hourly
    known = ~np.isnan(hourly)
    night = known[:, :, _NIGHT].sum(axis=2) >= 4
    working = known[:, :, _DAY].sum(axis=2) >= 8
    early = hourly[:, :, 0:8] * 1000.0
    whole = known[:, :, 0:8].all(axis=2)
    # What stands out over the day's least: a charger draws the same for hours (a weak hint, and kept as no more).
    floor = np.where(whole, np.nanmin(np.where(known, hourly, np.inf), axis=2) * 1000.0, np.nan)
    above = early - floor[:, :, None]
    level = np.median(above[:, :, 0:5], axis=2)
    with np.errstate(invalid="ignore"):
        flat = np.abs(above - level[:, :, None]) <= 0.15 * level[:, :, None]
    return {
        "energy_kwh": energy.amount,
        "energy_cover": energy.cover,
        "energy_samples": energy.samples.astype(np.float64),
        "energy_floor_w": energy.least_rate * 1000.0,
        "energy_peak_w": energy.most_rate * 1000.0,
        "energy_night_kwh": np.where(night, np.nansum(hourly[:, :, _NIGHT], axis=2), np.nan),
        "energy_day_kwh": np.where(working, np.nansum(hourly[:, :, _DAY], axis=2), np.nan),
        "energy_plateau_w": np.where(whole, level, np.nan),
        "energy_plateau_h": np.where(whole, flat.sum(axis=2), np.nan),
    }


_DOOR = (
    "entries",
    "exits",
    "residents_seen",
    "strangers_seen",
    "residents_nights",
    "strangers_nights",
    "lent_passages",
)


def _people(
    columns: dict[str, NDArray[np.float64]], people: People
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up who came; returns for every token its cell (row × days + day) and the packed token."""
    at = (people.unit, people.day)
    for name, amount in (
        ("entries", people.entries),
        ("exits", people.exits),
        ("lent_passages", people.lent),
    ):
        np.add.at(columns[name], at, amount)
    named = people.token != 0
    ours = np.isin(people.who, (PersonKind.RESIDENT, PersonKind.GUEST))
    for of, seen, slept in (
        (ours, "residents_seen", "residents_nights"),
        (~ours, "strangers_seen", "strangers_nights"),
    ):
        rows = named & of
        np.add.at(columns[seen], (people.unit[rows], people.day[rows]), 1.0)
        np.add.at(
            columns[slept], (people.unit[rows], people.day[rows]), people.night[rows].astype(float)
        )
    days = columns["entries"].shape[1]
    packed = (people.token & ~7) | people.who << 1 | people.night
    return (people.unit * days + people.day)[named], packed[named]
