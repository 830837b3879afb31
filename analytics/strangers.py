"""Strangers at a unit's own door: who stays, how many at a time, and who changes by the week.

Only a unit's own lock says whose guest a stranger is, and no lock sees everybody every night; so somebody who spent some nights
of four weeks is held to stay until they are seen next, for ten days at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, Tokens, UnitDayFrame, rolling
from domain.people import PersonKind

#: Nights in four weeks from which a stranger stays and does not visit.
STAY_NIGHTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerNights:
    """By (unit, day): how many strangers stay; whether several have for more than a visit; nights of those who stay for days only."""

    staying: NDArray[np.float32]
    several: Mask
    fleeting: NDArray[np.float32]


def read(frame: UnitDayFrame, stay_nights: float = STAY_NIGHTS) -> StrangerNights:
    """Follow every stranger's token through its nights; detectors share it."""
    key = ("strangers", stay_nights)
    if key not in frame.derived:
        frame.derived[key] = _read(frame, stay_nights)
    found: StrangerNights = frame.derived[key]
    return found


def _read(frame: UnitDayFrame, stay_nights: float) -> StrangerNights:
    shape = frame.let.shape
    t: Tokens = frame.tokens
    mine = ((t.who == PersonKind.STRANGER) | (t.who == PersonKind.FORMER)) & t.night
    if not mine.any():
        nothing = np.zeros(shape, dtype=np.float32)
        return StrangerNights(
            staying=nothing, several=np.zeros(shape, dtype=bool), fleeting=nothing
        )
    order = np.lexsort((t.day[mine], t.token[mine], t.unit[mine]))
    unit, day, token = t.unit[mine][order], t.day[mine][order], t.token[mine][order]
    new = np.r_[True, (unit[1:] != unit[:-1]) | (token[1:] != token[:-1])]
    group = np.cumsum(new) - 1
    staying = _staying(shape, unit, day, new, group, stay_nights)
    return StrangerNights(
        staying=staying,
        several=rolling(staying >= 2, 28) >= 14,
        fleeting=_fleeting(shape, unit, day, new, group, frame.days),
    )


def _staying(
    shape: tuple[int, int],
    unit: NDArray[np.int64],
    day: NDArray[np.int64],
    new: Mask,
    group: NDArray[np.int64],
    stay_nights: float,
) -> NDArray[np.float32]:
    index = np.arange(len(day))
    # The nights of the same token within four weeks up to each.
    key = group.astype(np.int64) * 100_000 + day
    nights = index - np.searchsorted(key, key - 27) + 1
    long = np.flatnonzero(nights >= stay_nights)
    following = np.r_[day[1:], day[-1:]]
    final = new[np.minimum(long + 1, len(day) - 1)] | (long == len(day) - 1)
    until = np.where(final, day[long] + 4, following[long])
    change = np.zeros((shape[0], shape[1] + 1), dtype=np.float32)
    np.add.at(change, (unit[long], day[long]), 1.0)
    np.add.at(change, (unit[long], np.minimum(np.minimum(until, day[long] + 10), shape[1])), -1.0)
    out: NDArray[np.float32] = np.cumsum(change, axis=1)[:, :-1]
    return out


def _fleeting(
    shape: tuple[int, int],
    unit: NDArray[np.int64],
    day: NDArray[np.int64],
    new: Mask,
    group: NDArray[np.int64],
    days: int,
) -> NDArray[np.float32]:
    """Count the guests of a short let: some nights in a row, and never again; three such or more within six weeks."""
    first, last = day[new], np.zeros(group[-1] + 1, dtype=np.int64)
    last[group] = day
    span, count = (last - first + 1)[group], np.bincount(group)[group]
    # Only those count whose time is over.
    brief = (count >= 2) & (count <= 8) & (span <= 10) & (last[group] <= days - 4)
    nights, newly = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    np.add.at(nights, (unit[brief], day[brief]), 1.0)
    np.add.at(newly, (unit[new & brief], day[new & brief]), 1.0)
    out: NDArray[np.float32] = np.where(rolling(newly, 42) >= 3, nights, np.float32(0.0))
    return out
