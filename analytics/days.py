"""Unit-day facts from intervals: how much, how surely, and when the tap last ran.

Consumption is shared over the days that an interval spans; what is *known* of a day is kept apart from it (`cover`),
and so are the instants between which nothing, or always something, flowed. A day of which nothing is known has no
number at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.intervals import Intervals, Quality
from domain.calendar import from_ms

_HOUR_MS = 3_600_000.0
#: An interval longer than this says how much was used, not when: it is an estimate for each of its days.
OBSERVED_H = 3.0
#: Up to this long an interval without any use proves a quiet time; beyond it a dead meter looks the same.
PROVEN_H = 72.0
#: Intervals shorter than this are too short to tell a rate from; those over OBSERVED_H are too long: a day's mean hides its rests.
_RATE_H = 1 / 6
#: Litres within one interval up to which water is a trickle (a drip, the last digit trembling), not someone's use.
TRICKLE_L = 2.0


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
    faults: dict[tuple[int, int], set[str]] = field(default_factory=dict)


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
    limit = np.maximum(observed_h[intervals.series[which]], OBSERVED_H) * _HOUR_MS
    observed = known & ((span <= limit) | ((delta == 0) & (span <= PROVEN_H * _HOUR_MS)))
    cell = unit * days + day

    def total(mask: NDArray[np.bool_], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        summed = np.bincount(cell[mask], weights=weight[mask], minlength=units * days)
        return summed.astype(np.float64).reshape(units, days)

    def extreme(mask: NDArray[np.bool_], value: NDArray[np.float64], *, least: bool) -> NDArray[np.float64]:
        out = np.full(units * days, np.inf if least else -np.inf)
        (np.minimum if least else np.maximum).at(out, cell[mask], value[mask])
        out[np.isinf(out)] = np.nan
        return out.reshape(units, days)

    amount = total(known, delta * overlap / span)
    amount[total(known, np.ones(len(cell))) == 0] = np.nan
    small = known & (delta <= trickle[intervals.series[which]] + 1e-9)
    used = known & ~small
    rated = known & (span >= _RATE_H * _HOUR_MS) & (span <= OBSERVED_H * _HOUR_MS)
    rate = delta / (span / _HOUR_MS)
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
        faults=_faults(unit_of, intervals, unit, day, intervals.quality[which], day_starts),
    )


def _spread(intervals: Intervals, day_starts: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Repeat each interval once for every day that it touches; returns the interval's index and the day's, in pairs."""
    days = len(day_starts) - 1
    first = np.searchsorted(day_starts, intervals.start, side="right") - 1
    last = np.searchsorted(day_starts, intervals.end, side="left") - 1
    low, high = np.clip(first, 0, days - 1), np.clip(last, 0, days - 1)
    count = np.where((last < 0) | (first >= days), 0, high - low + 1)
    which = np.repeat(np.arange(len(intervals)), count)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return which, low[which] + offset


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
    return np.bincount(unit[inside] * days + day[inside], minlength=units * days).reshape(units, days)


def to_rows(
    units: list[int],
    days: list[Any],
    water: SupplyDays,
    energy: SupplyDays,
    passages: dict[tuple[int, Any], dict[str, int]],
    door_days: set[tuple[int, Any]],
) -> list[dict[str, Any]]:
    """Turn arrays into rows of unit_days, for the days on which anything at all is known."""

    def number(value: float, scale: float = 1.0) -> float | None:
        return None if np.isnan(value) else float(value) * scale

    def instant(value: float) -> Any:
        return None if np.isnan(value) else from_ms(int(value))

    rows = []
    nobody = {"entries": 0, "exits": 0, "residents_seen": 0, "strangers_seen": 0}
    anything = (
        (water.samples > 0) | (energy.samples > 0) | (water.cover > 0) | (energy.cover > 0)
        | ~np.isnan(water.amount) | ~np.isnan(energy.amount)
    )  # fmt: skip
    for u, unit in enumerate(units):
        for d, day in enumerate(days):
            seen = passages.get((unit, day)) or (nobody if (unit, day) in door_days else None)
            if not anything[u, d] and seen is None:
                continue
            faults = {f"water_{f}" for f in water.faults.get((u, d), ())} | {
                f"energy_{f}" for f in energy.faults.get((u, d), ())
            }
            rows.append({
                "unit_id": unit, "day": day,
                "energy_kwh": number(energy.amount[u, d]), "energy_cover": float(energy.cover[u, d]),
                "energy_floor_w": number(energy.least_rate[u, d], 1000.0), "energy_peak_w": number(energy.most_rate[u, d], 1000.0),
                "water_l": number(water.amount[u, d], 1000.0), "water_cover": float(water.cover[u, d]),
                "water_trickle_l": number(water.trickle[u, d], 1000.0) if not np.isnan(water.amount[u, d]) else None,
                "water_least_l_h": number(water.least_rate[u, d], 1000.0),
                "energy_samples": int(energy.samples[u, d]), "water_samples": int(water.samples[u, d]),
                "water_first_use_at": instant(water.first_use[u, d]), "water_last_use_at": instant(water.last_use[u, d]),
                "water_first_still_at": instant(water.first_still[u, d]), "water_last_still_at": instant(water.last_still[u, d]),
                "faults": sorted(faults), **(seen or dict.fromkeys(nobody)),
            })  # fmt: skip
    return rows
