"""From a register's readings to intervals with a quality: what was used between two readings, where that is known.

Meters misbehave: registers fall back and recover, are reset, roll over, jump; none of that is consumption. The law is
local (it looks at most `REACH` readings to either side), so that recomputing a span with that much context gives
what computing everything gives. A register's fall is never negative consumption, and a jump that the pipe or the
fuse could not have carried is never consumption at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from domain.calendar import HOUR_MS

#: How many readings to either side a reading's fate can depend on.
REACH = 4
#: A register that falls back and recovers within this many readings was misread; those readings are left out.
_RECOVERY = 3
#: Clocks tremble: no two readings are held to be closer than this when a rate is judged.
_LEAST_MS = 60_000.0
#: Beyond its first two hours an interval may carry this share of the greatest rate: nobody draws from a meter at its overload
#: limit for days unseen, and a jump across a gap would otherwise pass for water.
_SUSTAINED = 0.1
_FULL_H = 2.0


class Quality(IntEnum):
    """What is known of an interval."""

    OK = 0
    ROLLOVER = 1
    RESET = 2
    IMPLAUSIBLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Per series: the most that its register grows in an hour, its smallest step, and where it rolls over (inf: never)."""

    max_rate: NDArray[np.float64]
    resolution: NDArray[np.float64]
    rollover: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals as columns of one length, sorted by series and time.

    `start` and `end` are ms UTC, `delta` is in the register's uom and NaN where nothing is known, `quality` holds
    Quality, `series` the index into the bounds. `misread` are the (series, ms) of readings that were left out.
    """

    series: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    delta: NDArray[np.float64]
    quality: NDArray[np.int8]
    misread_series: NDArray[np.int64]
    misread_at: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.start)


def to_intervals(
    series: NDArray[np.int64], at: NDArray[np.float64], value: NDArray[np.float64], bounds: Bounds
) -> Intervals:
    """Difference registers; the columns must be sorted by series, then time, without equal times in a series."""
    keep = ~_misread(series, at, value, bounds)
    s, t, v = series[keep], at[keep], value[keep]
    same = s[1:] == s[:-1]
    a, b = np.flatnonzero(same), np.flatnonzero(same) + 1
    rise = v[b] - v[a]
    room = _room(s[a], t[b] - t[a], bounds)
    around = rise + bounds.rollover[s[a]]
    quality = np.full(len(a), Quality.OK, dtype=np.int8)
    quality[rise > room] = Quality.IMPLAUSIBLE
    fell = rise < 0
    quality[fell] = Quality.RESET
    rolled = fell & (v[a] > 0.9 * bounds.rollover[s[a]]) & (around <= room)
    quality[rolled] = Quality.ROLLOVER
    delta = np.where(quality == Quality.OK, rise, np.nan)
    delta[rolled] = around[rolled]
    return Intervals(
        series=s[a],
        start=t[a],
        end=t[b],
        delta=delta,
        quality=quality,
        misread_series=series[~keep],
        misread_at=at[~keep],
    )


def _room(
    series: NDArray[np.int64], elapsed_ms: NDArray[np.float64], bounds: Bounds
) -> NDArray[np.float64]:
    """Return the most that registers can have grown in the time elapsed."""
    hours = np.maximum(elapsed_ms, _LEAST_MS) / HOUR_MS
    full = np.minimum(hours, _FULL_H)
    return (
        bounds.max_rate[series] * (full + _SUSTAINED * (hours - full)) + bounds.resolution[series]
    )


def _misread(
    series: NDArray[np.int64], at: NDArray[np.float64], value: NDArray[np.float64], bounds: Bounds
) -> NDArray[np.bool_]:
    """Find readings that do not belong: the register leaves its course with them and is back on it soon after."""
    n = len(series)
    wrong = np.zeros(n, dtype=bool)

    def on_course(i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.bool_]:
        rise = value[j] - value[i]
        back: NDArray[np.bool_] = (
            (series[i] == series[j])
            & (rise >= 0)
            & (rise <= _room(series[i], at[j] - at[i], bounds))
        )
        return back

    if n < 3:
        return wrong
    first = np.arange(n - 1)
    leaves = first[(series[:-1] == series[1:]) & ~on_course(first, first + 1)]
    for gap in range(1, _RECOVERY + 1):
        here = leaves[leaves + 1 + gap < n]
        back = here[on_course(here, here + 1 + gap)]
        for k in range(1, gap + 1):
            wrong[back + k] = True
        leaves = np.setdiff1d(leaves, back, assume_unique=True)
    return wrong
