"""Rules that a spreadsheet would hold: what the detectors have to beat."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame, runs_of

#: Days of the present, and of the past that it is compared with.
_PRESENT_DAYS = 56
_PAST_DAYS = 182
#: Days of each that must be known.
_LEAST_DAYS = 28
#: Days over which use is added up, and how much of it is little: m³ of water, or kWh.
_MONTH_DAYS = 30
_LITTLE_WATER_L = 1000.0
_LITTLE_POWER_KWH = 15.0


def changed_consumption(frame: UnitDayFrame) -> NDArray[np.float64]:
    """Rank subletting by consumption alone.

    The score, of shape (units,), says how far the water and the power of the last eight weeks lie
    from the half year before them, beside those of other homes. Homes that are not let have -1.
    """
    score = np.zeros(len(frame.units))
    for name in ("water_l", "energy_kwh"):
        score += np.abs(_shift_of(frame[name]))
    score[~frame.let[:, -1]] = -1.0
    return score


def _shift_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much the log of the mean shifted, of shape (units,); 0 where not known."""
    days = values.shape[1]
    present_begin = max(0, days - _PRESENT_DAYS)
    past_begin = max(0, days - _PRESENT_DAYS - _PAST_DAYS)
    present = values[:, present_begin:]
    past = values[:, past_begin : max(1, days - _PRESENT_DAYS)]
    shift = np.zeros(len(values))
    is_known = (_known_days(present) >= _LEAST_DAYS) & (_known_days(past) >= _LEAST_DAYS)
    if not is_known.any():
        return shift
    with np.errstate(all="ignore"):
        log_present = np.log(np.nanmean(present[is_known], axis=1) + 0.1)
        log_past = np.log(np.nanmean(past[is_known], axis=1) + 0.1)
        shift[is_known] = log_present - log_past
        shift -= np.median(shift[is_known])
    return shift


def _known_days(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.asarray(np.sum(~np.isnan(values), axis=1))


def quiet_by_threshold(frame: UnitDayFrame) -> dict[int, list[tuple[date, date]]]:
    """Find vacancy by a fixed threshold: thirty days under 1 m³ of water in all.

    Homes without a water meter count by 15 kWh. Returns the days, both included, by unit row.
    """
    water = np.nan_to_num(frame["water_l"]) / _LITTLE_WATER_L
    power = np.nan_to_num(frame["energy_kwh"]) / _LITTLE_POWER_KWH
    has_water: Mask = np.any(frame.fitted["water"], axis=1)
    total = np.cumsum(np.where(has_water[:, None], water, power), axis=1)
    month = total.copy()
    month[:, _MONTH_DAYS:] -= total[:, :-_MONTH_DAYS]
    is_metered = frame.fitted["water"] | frame.fitted["energy"]
    is_quiet = (month < 1.0) & frame.let & is_metered
    is_quiet[:, :_MONTH_DAYS] = False
    vacant: dict[int, list[tuple[date, date]]] = {}
    for row, begin, end in runs_of(is_quiet, 1):
        first = frame.day(max(0, begin - _MONTH_DAYS))
        vacant.setdefault(row, []).append((first, frame.day(end - 1)))
    return vacant
