"""Evidence of meters: the flat lives while its residents are not seen, and it lives differently
than before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.subletting.signs import PAST_METER_DAYS, Stretch, SublettingSigns
from analytics.frame import Mask, UnitDayFrame
from analytics.fusion import Weight, changed_ratio, limit_ratio
from analytics.parameters import LikelihoodRatio, Share
from analytics.presence import Presence
from domain.calendar import HOUR_MS

#: Columns of the frame that are read here.
INPUTS = frozenset(
    {
        "energy_day_kwh",
        "energy_kwh",
        "water_first_use_at",
        "water_hours_known",
        "water_last_use_at",
    }
)
_DOUBT = 0.4
_DOUBT_OF_SHOP = 0.5
#: Log likelihood ratios: consumption that fell by half where nobody else is seen, the same of
#: electricity alone, a shop.
FELL_BY_HALF = -1.25
_POWER_FELL = -3.0
_SHOP = -7.0
#: Falls of the log of consumption: by half, and of electricity in a home without a water meter.
_HALF = -0.7
_LARGE_FALL = -0.5
#: Lived-in days of the present and the past that must be known.
_LEAST_RECENT_DAYS = 10
_LEAST_PAST_DAYS = 14
#: Standard deviations of the log of consumption between two times, of the same people and of
#: others.
_SAME_PEOPLE = 0.2
_OTHERS = 0.6
#: The standard error of a median is wider than a mean's; days in a row are alike, so a third of
#: them counts.
_OF_MEDIAN = 1.25
_DAYS_ALIKE = 3
#: Homes of the frame, at most, by whose use the season is known; of them so many must live on a
#: day.
_SEASON_HOMES = 256
_LEAST_SEASON_HOMES = 8
#: kWh or litres a day up to which a day has no logarithm to speak of.
_LEAST_AMOUNT = 0.05
#: A home's own evening: water before the one hour or after the other. Hours of a day that must be
#: known.
_EARLY_HOUR = 7.5
_LATE_HOUR = 21.5
_KNOWN_HOURS = 18
#: Days that must be known before a home is a shop, and share of them that must be.
_LEAST_SHOP_DAYS = 21
_SHOP_DAYS_SHARE = 0.7
_FORTNIGHT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterWeights:
    """Limits of what meters say."""

    limit_water: LikelihoodRatio = 6.0
    """Water is used differently: a washing machine, a baby, a garden."""
    limit_energy: LikelihoodRatio = 4.0
    """Electricity is used differently: a heater, a new fridge."""
    no_evenings: Share = 0.3
    """Share of days with water before half past seven or after half past nine under which nobody
    lives there.
    """
    by_day: Share = 0.58
    """Share of electricity within nine working hours from which, day after day, nobody lives there.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class _Supply:
    """One of the two supplies: daily amounts of shape (units, days), reasons, and what use alone
    says.
    """

    family: str
    amount: NDArray[Any]
    limit: float
    used_reason: str
    used_ratio: float
    changed_reason: str


def weigh_meters(
    frame: UnitDayFrame, signs: SublettingSigns, stretch: Stretch, weights: MeterWeights
) -> list[Weight]:
    """Weigh what the meters say of a stretch."""
    water = _Supply(
        family="water",
        amount=signs.presence.used_l,
        limit=weights.limit_water,
        used_reason="water_used_while_unseen",
        used_ratio=1.0,
        changed_reason="water_changed",
    )
    electricity = _Supply(
        family="electricity",
        amount=frame["energy_kwh"],
        limit=weights.limit_energy,
        used_reason="power_used_while_unseen",
        used_ratio=0.6,
        changed_reason="power_changed",
    )
    found = [
        *_weigh_supply(frame, signs, stretch, water),
        *_weigh_supply(frame, signs, stretch, electricity),
    ]
    if _is_used_by_day_only(frame, stretch, weights):
        # A shop is another matter, and everything else that speaks here speaks for a shop as well.
        found.append(
            Weight(family="water", reason="used_by_day_only", doubt=_DOUBT_OF_SHOP, ratio=_SHOP)
        )
    return found


def fell_by_half(weights: list[Weight]) -> bool:
    """Tell whether consumption fell by half: then they left, as far as anybody can tell."""
    return any(w.reason.endswith("_changed") and w.ratio <= FELL_BY_HALF for w in weights)


def _weigh_supply(
    frame: UnitDayFrame, signs: SublettingSigns, stretch: Stretch, supply: _Supply
) -> Iterator[Weight]:
    """Weigh that it is used at all, and that it is used differently than before."""
    days = signs.presence
    row = stretch.row
    past_span = stretch.before(PAST_METER_DAYS)
    recent = _lived_amounts(supply.amount, days, row, stretch.recent)
    if len(recent) < _LEAST_RECENT_DAYS:
        return
    yield Weight(
        family=supply.family, reason=supply.used_reason, doubt=_DOUBT, ratio=supply.used_ratio
    )
    past = _lived_amounts(supply.amount, days, row, past_span)
    if len(past) < _LEAST_PAST_DAYS:
        return
    season = _seasonal_logs(frame, supply, days)
    seasonal_shift = _mean_known(season[stretch.recent]) - _mean_known(season[past_span])
    shift = float(np.median(np.log(recent)) - np.median(np.log(past)) - seasonal_shift)
    error = _OF_MEDIAN * float(np.hypot(_error_of(recent), _error_of(past)))
    changed = changed_ratio(shift, error, normal=_SAME_PEOPLE, other=_OTHERS)
    ratio = _explain_shift(frame, signs, stretch, supply, shift, limit_ratio(changed, supply.limit))
    yield Weight(family=supply.family, reason=supply.changed_reason, doubt=_DOUBT, ratio=ratio)


def _explain_shift(
    frame: UnitDayFrame,
    signs: SublettingSigns,
    stretch: Stretch,
    supply: _Supply,
    shift: float,
    ratio: float,
) -> float:
    """Return the log ratio of a shift after its innocent explanations."""
    row = stretch.row
    recent = stretch.recent
    alone = not signs.staying[row, recent].any()
    if (shift > 0 and _kin_stay(signs, stretch)) or (shift < 0 and alone):
        # Kin who stay use more beside those who live there, and where nobody else is seen a fall is
        # somebody who left.
        ratio = min(ratio, 0.0)
    if shift < _HALF and alone:
        # Others who live there seldom use so little; who works there or looks after it mostly does.
        ratio = min(ratio, FELL_BY_HALF)
    has_water_meter = frame.fitted["water"][row].any()
    if supply.family == "electricity" and shift < _LARGE_FALL and not has_water_meter:
        ratio = _POWER_FELL
    return ratio


def _kin_stay(signs: SublettingSigns, stretch: Stretch) -> bool:
    """Tell whether several strangers stay beside residents who are seen as before."""
    row = stretch.row
    recent = stretch.recent
    known = signs.known[row, recent]
    share_seen = float(np.mean(signs.seen[row, recent][known])) if known.any() else 0.0
    several = bool(signs.several[row, recent][-_FORTNIGHT:].any())
    return several and share_seen > 0.5 * signs.usual_seen[row]


def _error_of(amounts: NDArray[np.float64]) -> float:
    return float(np.std(np.log(amounts)) / np.sqrt(len(amounts) / _DAYS_ALIKE))


def _lived_amounts(
    amount: NDArray[Any], days: Presence, row: int, span: slice
) -> NDArray[np.float64]:
    """Return what was used on the lived-in days of a span, where known and more than nothing."""
    lived = amount[row, span][days.living[row, span]].astype(np.float64)
    return lived[~np.isnan(lived) & (lived > _LEAST_AMOUNT)]


def _seasonal_logs(frame: UnitDayFrame, supply: _Supply, days: Presence) -> NDArray[np.float64]:
    """Return by day (days,) the logarithm of what lived-in homes use, so that a heat wave changes
    nobody's ways.

    NaN where few homes live. It is read from some homes of the frame, once for all.
    """
    key = ("season", supply.family)
    if key not in frame.derived:
        step = max(1, len(supply.amount) // _SEASON_HOMES)
        amounts = np.maximum(supply.amount[::step], np.float32(_LEAST_AMOUNT))
        values = np.where(days.living[::step], np.log(amounts), np.float32(np.nan))
        enough = np.sum(~np.isnan(values), axis=0) >= _LEAST_SEASON_HOMES
        logs = np.full(values.shape[1], np.nan)
        if enough.any():
            logs[enough] = np.nanmedian(values[:, enough], axis=0)
        frame.derived[key] = logs
    season: NDArray[np.float64] = frame.derived[key]
    return season


def _mean_known(values: NDArray[np.float64]) -> float:
    return 0.0 if np.isnan(values).all() else float(np.nanmean(values))


def _is_used_by_day_only(frame: UnitDayFrame, stretch: Stretch, weights: MeterWeights) -> bool:
    """Tell whether nobody lives there in the mornings and evenings, as in a shop."""
    row = stretch.row
    recent = stretch.recent
    homely = _homely_days(frame, row, recent)
    if len(homely) >= _LEAST_SHOP_DAYS and homely.mean() < weights.no_evenings:
        return True
    with np.errstate(invalid="ignore", divide="ignore"):
        share = frame["energy_day_kwh"][row, recent] / frame["energy_kwh"][row, recent]
    known = share[~np.isnan(share)]
    if len(known) < _LEAST_SHOP_DAYS:
        return False
    return bool(np.mean(known > weights.by_day) >= _SHOP_DAYS_SHARE)


def _homely_days(frame: UnitDayFrame, row: int, span: slice) -> Mask:
    """Tell of every day on which water was used and read by the hour whether it was used early or
    late.
    """
    first = frame["water_first_use_at"][row, span]
    last = frame["water_last_use_at"][row, span]
    midnight = frame.day_starts[:-1][span]
    with np.errstate(invalid="ignore"):
        early = first < midnight + _EARLY_HOUR * HOUR_MS
        late = last > midnight + _LATE_HOUR * HOUR_MS
        timed = (frame["water_hours_known"][row, span] >= _KNOWN_HOURS) & ~np.isnan(last)
    return np.asarray((early | late)[timed])
