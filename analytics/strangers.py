"""Strangers at a unit's own door: who stays, how many at a time, and who changes by the week.

Only a unit's own lock says whose guest a stranger is, and no lock sees everybody every night. So
somebody who spent some nights of four weeks counts as staying until the next sighting, for ten days
at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame, rolling
from domain.people import PersonKind

#: Nights in four weeks from which a stranger stays and does not visit.
STAY_NIGHTS = 4
_FOUR_WEEKS = 28
#: Days after a night for which a stranger counts as staying, and days after the last night of all.
_STAYS_UNSEEN_DAYS = 10
_STAYS_AFTER_LAST_DAYS = 4
#: Days of four weeks with two strangers or more from which several stay.
_SEVERAL_DAYS = 14
#: A short let: nights and days of a guest, days since the last of them, guests in six weeks.
_GUEST_NIGHTS = (2, 8)
_GUEST_DAYS = 10
_GONE_DAYS = 4
_TURNOVER_DAYS = 42
_TURNOVER_GUESTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerNights:
    """By (unit, day): how many strangers stay; whether several have for two weeks; nights of guests
    of a short let.
    """

    staying: NDArray[np.float32]
    several: Mask
    fleeting: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nights:
    """Nights of strangers as columns of one length, ordered by unit, token and day.

    `first` marks the first night of each stranger, `stranger` numbers them.
    """

    unit: NDArray[np.int64]
    day: NDArray[np.int64]
    first: Mask
    stranger: NDArray[np.int64]


def read_stranger_nights(frame: UnitDayFrame, stay_nights: float = STAY_NIGHTS) -> StrangerNights:
    """Follow every stranger's token through its nights; detectors with the same limit share the
    result.
    """
    key = ("strangers", stay_nights)
    if key not in frame.derived:
        frame.derived[key] = _follow_strangers(frame, stay_nights)
    nights: StrangerNights = frame.derived[key]
    return nights


def _follow_strangers(frame: UnitDayFrame, stay_nights: float) -> StrangerNights:
    shape = frame.let.shape
    nights = _nights_of_strangers(frame)
    if nights is None:
        none = np.zeros(shape, dtype=np.float32)
        return StrangerNights(staying=none, several=np.zeros(shape, dtype=bool), fleeting=none)
    staying = _count_staying(nights, shape, stay_nights)
    return StrangerNights(
        staying=staying,
        several=rolling(staying >= 2, _FOUR_WEEKS) >= _SEVERAL_DAYS,
        fleeting=_count_fleeting(nights, shape),
    )


def _nights_of_strangers(frame: UnitDayFrame) -> _Nights | None:
    tokens = frame.tokens
    strange = (tokens.person_kind == PersonKind.STRANGER) | (
        tokens.person_kind == PersonKind.FORMER
    )
    chosen = strange & tokens.night
    if not chosen.any():
        return None
    order = np.lexsort((tokens.day[chosen], tokens.token[chosen], tokens.unit[chosen]))
    unit = tokens.unit[chosen][order]
    token = tokens.token[chosen][order]
    first = np.r_[True, (unit[1:] != unit[:-1]) | (token[1:] != token[:-1])]
    return _Nights(
        unit=unit,
        day=tokens.day[chosen][order],
        first=first,
        stranger=np.cumsum(first) - 1,
    )


def _count_staying(
    nights: _Nights, shape: tuple[int, int], stay_nights: float
) -> NDArray[np.float32]:
    """Count by (unit, day) the strangers who stay."""
    day = nights.day
    last_row = len(nights.day) - 1
    # Nights of the same stranger within the four weeks up to each.
    key = nights.stranger.astype(np.int64) * 100_000 + day
    recent = np.arange(len(day)) - np.searchsorted(key, key - (_FOUR_WEEKS - 1)) + 1
    stays = np.flatnonzero(recent >= stay_nights)
    next_day = np.r_[day[1:], day[-1:]]
    final = nights.first[np.minimum(stays + 1, last_row)] | (stays == last_row)
    until = np.where(final, day[stays] + _STAYS_AFTER_LAST_DAYS, next_day[stays])
    until = np.minimum(until, day[stays] + _STAYS_UNSEEN_DAYS)
    change = np.zeros((shape[0], shape[1] + 1), dtype=np.float32)
    np.add.at(change, (nights.unit[stays], day[stays]), 1.0)
    np.add.at(change, (nights.unit[stays], np.minimum(until, shape[1])), -1.0)
    staying: NDArray[np.float32] = np.cumsum(change, axis=1)[:, :-1]
    return staying


def _count_fleeting(nights: _Nights, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Count by (unit, day) the guests of a short let: some nights in a row and never again, at
    least three in six weeks.
    """
    first_day = nights.day[nights.first]
    last_day = np.zeros(nights.stranger[-1] + 1, dtype=np.int64)
    last_day[nights.stranger] = nights.day
    span = (last_day - first_day + 1)[nights.stranger]
    count = np.bincount(nights.stranger)[nights.stranger]
    least, most = _GUEST_NIGHTS
    # Only guests whose stay is over count.
    over = last_day[nights.stranger] <= shape[1] - _GONE_DAYS
    brief = (count >= least) & (count <= most) & (span <= _GUEST_DAYS) & over
    guests = np.zeros(shape, dtype=np.float32)
    np.add.at(guests, (nights.unit[brief], nights.day[brief]), 1.0)
    arrived = nights.first & brief
    arrivals = np.zeros(shape, dtype=np.float32)
    np.add.at(arrivals, (nights.unit[arrived], nights.day[arrived]), 1.0)
    turnover = rolling(arrivals, _TURNOVER_DAYS) >= _TURNOVER_GUESTS
    fleeting: NDArray[np.float32] = np.where(turnover, guests, np.float32(0.0))
    return fleeting
