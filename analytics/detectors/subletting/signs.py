"""What each day says of subletting, and the stretch of days that is weighed as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.frame import Mask, UnitDayFrame, rolling
from analytics.parameters import DayCount, Share
from analytics.presence import Presence, PresenceParams, read_presence
from analytics.strangers import STAY_NIGHTS, read_stranger_nights

#: Columns of the frame that are read here.
INPUTS = presence.INPUTS
#: Days over which a stretch is compared with what was usual: of the present, and of the past by
#: doors and by meters.
RECENT_DAYS = 56
PAST_DOOR_DAYS = 120
PAST_METER_DAYS = 84
#: Days of the past that must be known before a sighting rate is a home's own.
LEAST_PAST_DAYS = 21
#: What is usual elsewhere counts as so many days of the home's own past.
PRIOR_DAYS = 4.0
#: Log likelihood ratios of a day: most that a day without a resident says for it, and most that one
#: with says against.
_MOST_FOR = 0.7
_MOST_AGAINST = -2.0
#: The same of a resident who is seen where rooms are let one by one: the tenant lives there, too.
_SEEN_AMONG_SEVERAL = -0.3
#: Log likelihood ratios of a day with several strangers who stay, with one, with a guest of a short
#: let, and of an empty home.
_SEVERAL_STAY = 1.4
_ONE_STAYS = 0.3
_GUEST = 0.5
_EMPTY = -0.15
#: A month's sighting rate: days in it, how far months lie apart, and lived-in days that it must
#: have.
_MONTH = 28
_STEP = 7
_LEAST_LIVED_DAYS = 10
#: The usual rate is the one that this share of a home's months reaches at most.
_USUAL_PERCENTILE = 0.65
#: The usual rate elsewhere counts as so many days; a home's own months as so many at most.
_PRIOR_OF_USUAL_DAYS = 6.0
_MOST_OWN_DAYS = 56.0
#: A home with a lower rate was hardly ever seen; then the rate elsewhere counts, but less.
_HARDLY_EVER = 0.1
_PRIOR_WHERE_HARDLY_EVER = 0.6
_LEAST_USUAL = 0.08
_GREATEST_USUAL = 0.98


#: A share is known as well as a third of the days that it was counted over, of so many at most.
_MOST_COUNTED_DAYS = 60
_COUNTED_DAYS_PART = 3.0


def share_of_days(hits: float, days: int, usual_elsewhere: float) -> float:
    """Return a share of days, drawn towards what is usual elsewhere where few are known."""
    return (hits + PRIOR_DAYS * usual_elsewhere) / (days + PRIOR_DAYS)


def strength_of_share(days: int) -> float:
    """Return by how many days such a share is known."""
    return min(days, _MOST_COUNTED_DAYS) / _COUNTED_DAYS_PART + PRIOR_DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class SightingParams:
    """How often people are seen at doors."""

    usual_seen: Share = 0.75
    """Share of days on which a resident who lives there is seen, where nothing is known of the home
    yet.
    """
    gone_seen: Share = 0.04
    """Share of days on which one who is gone is seen: the landlord who collects the rent."""
    stay_nights: DayCount = STAY_NIGHTS
    """Nights in four weeks from which a stranger stays and does not visit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SublettingSigns:
    """What speaks day by day, as arrays of shape (units, days) but for `usual_seen` (units,).

    `known`: a door saw anything; `seen`: a resident; `usual_seen`: share of lived-in days on which
    a resident is seen. `staying` counts strangers who stay and are not declared guests or carers;
    `several`: two or more for two weeks; `fleeting` counts guests of a short let. `daily` is the
    log likelihood ratio of others living there.
    """

    presence: Presence
    known: Mask
    seen: Mask
    usual_seen: NDArray[np.float64]
    staying: NDArray[np.float32]
    several: Mask
    fleeting: NDArray[np.float32]
    daily: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Days of one row that are weighed as a whole: columns [start, end). `recent` are its last
    eight weeks.
    """

    row: int
    start: int
    end: int

    @property
    def recent(self) -> slice:
        """Its last eight weeks, as columns."""
        return slice(max(self.start, self.end - RECENT_DAYS), self.end)

    def before(self, days: int) -> slice:
        """Return up to so many days before it began."""
        return slice(max(0, self.start - days), self.start)


def read_signs(
    frame: UnitDayFrame, presence_params: PresenceParams, params: SightingParams
) -> SublettingSigns:
    """Read the signs of every day of every unit."""
    days = read_presence(frame, presence_params)
    nights = read_stranger_nights(frame, params.stay_nights)
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(frame["residents_seen"])
        seen = frame["residents_seen"] > 0
        entries = frame["entries"] > 0
    usual_seen = _usual_seen(known, seen, days, params)
    staying = nights.staying * ~frame.spoken_for
    lives = days.living | (entries & ~days.empty)
    daily = _sighting_ratios(usual_seen, params.gone_seen, seen=seen, unseen=known & lives & ~seen)
    among_several = nights.several & seen
    daily[among_several] = np.maximum(daily[among_several], _SEEN_AMONG_SEVERAL)
    # A stranger who stays speaks for others living there, whether or not residents are seen too.
    stays = staying > 0
    daily[stays] += np.where(nights.several[stays], _SEVERAL_STAY, _ONE_STAYS)
    daily[nights.fleeting > 0] += _GUEST
    daily[days.empty & ~lives] = _EMPTY
    return SublettingSigns(
        presence=days,
        known=known,
        seen=seen,
        usual_seen=usual_seen,
        staying=staying,
        several=nights.several & ~frame.spoken_for,
        fleeting=nights.fleeting,
        daily=daily,
    )


def _sighting_ratios(
    usual_seen: NDArray[np.float64], gone_seen: float, *, seen: Mask, unseen: Mask
) -> NDArray[np.float32]:
    """Return each day's log likelihood ratio of residents being gone, by whether one was seen; 0
    elsewhere.
    """
    unseen_ratio = np.log((1 - gone_seen) / np.maximum(1 - usual_seen, 0.02))
    unseen_ratio = np.minimum(unseen_ratio, _MOST_FOR).astype(np.float32)[:, None]
    seen_ratio = np.log(gone_seen / usual_seen)
    seen_ratio = np.maximum(seen_ratio, _MOST_AGAINST).astype(np.float32)[:, None]
    daily: NDArray[np.float32] = seen_ratio * seen
    daily += unseen_ratio * unseen
    return daily


def _usual_seen(
    known: Mask, seen: Mask, days: Presence, params: SightingParams
) -> NDArray[np.float64]:
    """Return on which share of lived-in days a resident is seen while they live there, of shape
    (units,).

    It is what most of a home's months show, drawn towards what is usual elsewhere as far as little
    is known.
    """
    lived = known & days.living
    counts = rolling(lived, _MONTH)[:, ::_STEP]
    share = rolling(lived & seen, _MONTH)[:, ::_STEP] / np.maximum(counts, 1)
    share[counts < _LEAST_LIVED_DAYS] = np.nan
    ordered = np.sort(share, axis=1)
    months = np.sum(~np.isnan(ordered), axis=1)
    percentile = (_USUAL_PERCENTILE * (months - 1)).round().astype(int)
    column = np.clip(percentile, 0, ordered.shape[1] - 1)
    own = ordered[np.arange(len(ordered)), column]
    own_days = np.minimum(_STEP * months, _MOST_OWN_DAYS)
    prior = params.usual_seen
    weighed = np.nan_to_num(own) * own_days + prior * _PRIOR_OF_USUAL_DAYS
    # Who was never seen may always have been gone.
    usual = np.where(
        own > _HARDLY_EVER,
        weighed / (own_days + _PRIOR_OF_USUAL_DAYS),
        _PRIOR_WHERE_HARDLY_EVER * prior,
    )
    return np.clip(usual, _LEAST_USUAL, _GREATEST_USUAL)
