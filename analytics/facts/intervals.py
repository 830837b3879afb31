"""From the readings of registers to intervals: what was used between two readings, where known.

Meters misbehave: registers fall back and recover, are reset, roll over, jump. None of that is
consumption. The rules are local: the fate of a reading depends on at most `REACH` readings to
either side. So a span that is computed anew with that much context gives the same as everything
computed anew. A register that falls is never negative consumption. A jump that the pipe or the fuse
could not have carried is no consumption at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from domain.calendar import HOUR_MS

#: How many readings to either side the fate of a reading can depend on.
REACH = 4
#: Readings are misread, and left out, where a register recovers within this many of them.
_RECOVERY = 3
#: Two readings count as at least this far apart when a rate is judged: clocks are not exact.
_LEAST_MS = 60_000.0
#: After its first hours an interval carries at most this share of the greatest rate. Nobody draws
#: at a meter's overload limit for days; without this a jump across a gap would pass for water.
_SUSTAINED = 0.1
_FULL_RATE_H = 2.0
#: A register that fell from above this share of its rollover may have rolled over.
_NEAR_ROLLOVER = 0.9


class Quality(IntEnum):
    """What is known of an interval."""

    OK = 0
    ROLLOVER = 1
    RESET = 2
    IMPLAUSIBLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterLimits:
    """What registers can do, as arrays of shape (series,) in the uom of each."""

    max_rate: NDArray[np.float64]
    """The most that it grows in an hour."""
    resolution: NDArray[np.float64]
    """Its smallest step."""
    rollover: NDArray[np.float64]
    """Where it begins again at zero; inf: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals as arrays of shape (intervals,), sorted by series and time."""

    series: NDArray[np.int64]
    """The index into the limits."""
    start: NDArray[np.float64]
    """ms UTC."""
    end: NDArray[np.float64]
    """ms UTC."""
    delta: NDArray[np.float64]
    """What was used, in the register's uom; NaN where that is not known."""
    quality: NDArray[np.int8]
    """A `Quality` each."""
    misread_series: NDArray[np.int64]
    """The series of each reading that was left out, of shape (misread,)."""
    misread_at: NDArray[np.float64]
    """When each of them was taken, ms UTC."""

    def __len__(self) -> int:
        return len(self.start)


def to_intervals(
    series: NDArray[np.int64],
    at: NDArray[np.float64],
    value: NDArray[np.float64],
    limits: RegisterLimits,
) -> Intervals:
    """Return the intervals between the readings of registers.

    `series` (indices into `limits`), `at` (ms UTC) and `value` (in the register's uom) have the
    shape (readings,). They are sorted by series, then time; no time stands twice in a series.
    """
    kept = ~_misread(series, at, value, limits)
    kept_series = series[kept]
    kept_at = at[kept]
    kept_value = value[kept]
    before = np.flatnonzero(kept_series[1:] == kept_series[:-1])
    after = before + 1
    of_series = kept_series[before]
    rise = kept_value[after] - kept_value[before]
    most = _greatest_rise(of_series, kept_at[after] - kept_at[before], limits)
    rollover = limits.rollover[of_series]
    rise_over_zero = rise + rollover

    fell = rise < 0
    near_rollover = kept_value[before] > _NEAR_ROLLOVER * rollover
    rolled_over = fell & near_rollover & (rise_over_zero <= most)
    quality = np.full(len(before), Quality.OK, dtype=np.int8)
    quality[rise > most] = Quality.IMPLAUSIBLE
    quality[fell] = Quality.RESET
    quality[rolled_over] = Quality.ROLLOVER

    delta = np.where(quality == Quality.OK, rise, np.nan)
    delta[rolled_over] = rise_over_zero[rolled_over]
    return Intervals(
        series=of_series,
        start=kept_at[before],
        end=kept_at[after],
        delta=delta,
        quality=quality,
        misread_series=series[~kept],
        misread_at=at[~kept],
    )


def _greatest_rise(
    series: NDArray[np.int64], elapsed_ms: NDArray[np.float64], limits: RegisterLimits
) -> NDArray[np.float64]:
    """Return the most by which registers can have grown in the time elapsed."""
    hours = np.maximum(elapsed_ms, _LEAST_MS) / HOUR_MS
    full_hours = np.minimum(hours, _FULL_RATE_H)
    rate_hours = full_hours + _SUSTAINED * (hours - full_hours)
    return limits.max_rate[series] * rate_hours + limits.resolution[series]


def _misread(
    series: NDArray[np.int64],
    at: NDArray[np.float64],
    value: NDArray[np.float64],
    limits: RegisterLimits,
) -> NDArray[np.bool_]:
    """Find readings with which a register leaves its course, and is back on it soon after."""
    count = len(series)
    misread = np.zeros(count, dtype=bool)
    if count < 3:
        return misread

    def is_on_course(earlier: NDArray[np.intp], later: NDArray[np.intp]) -> NDArray[np.bool_]:
        rise = value[later] - value[earlier]
        most = _greatest_rise(series[earlier], at[later] - at[earlier], limits)
        same_series = series[earlier] == series[later]
        on_course: NDArray[np.bool_] = same_series & (rise >= 0) & (rise <= most)
        return on_course

    readings = np.arange(count - 1)
    leaving = readings[(series[:-1] == series[1:]) & ~is_on_course(readings, readings + 1)]
    for length in range(1, _RECOVERY + 1):
        candidates = leaving[leaving + 1 + length < count]
        recovered = candidates[is_on_course(candidates, candidates + 1 + length)]
        for offset in range(1, length + 1):
            misread[recovered + offset] = True
        leaving = np.setdiff1d(leaving, recovered, assume_unique=True)
    return misread
