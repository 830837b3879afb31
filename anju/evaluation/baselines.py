"""What is to be beaten: rules that a spreadsheet would hold."""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame, runs_of


def changed_consumption(frame: UnitDayFrame) -> NDArray[np.float64]:
    """Rank subletting by consumption alone: how far the last eight weeks' water and power lie from the half year before them."""
    score = np.zeros(len(frame.units))
    now, past = (
        slice(max(0, frame.days - 56), frame.days),
        slice(max(0, frame.days - 238), max(1, frame.days - 56)),
    )
    with np.errstate(all="ignore"):
        for name in ("water_l", "energy_kwh"):
            values = frame[name]
            enough = (np.sum(~np.isnan(values[:, now]), axis=1) >= 28) & (
                np.sum(~np.isnan(values[:, past]), axis=1) >= 28
            )
            shift = np.zeros(len(score))
            shift[enough] = np.log(np.nanmean(values[enough][:, now], axis=1) + 0.1) - np.log(
                np.nanmean(values[enough][:, past], axis=1) + 0.1
            )
            shift -= np.median(shift[enough]) if enough.any() else 0.0
            score += np.abs(shift)
    score[~frame.let[:, -1]] = -1.0
    return score


def quiet_by_threshold(frame: UnitDayFrame) -> dict[int, list[tuple[date, date]]]:
    """Find vacancy by a fixed threshold: thirty days under 1 m³ of water in all, or, without water, under 15 kWh."""
    found: dict[int, list[tuple[date, date]]] = {}
    water, power = np.nan_to_num(frame["water_l"]), np.nan_to_num(frame["energy_kwh"])
    metered: Mask = np.any(frame.fitted["water"], axis=1)
    use = np.where(metered[:, None], water / 1000.0, power / 15.0)
    total = np.cumsum(use, axis=1)
    month = total.copy()
    month[:, 30:] -= total[:, :-30]
    low = (month < 1.0) & frame.let & (frame.fitted["water"] | frame.fitted["energy"])
    low[:, :30] = False
    for u, a, b in runs_of(low, 1):
        found.setdefault(u, []).append((frame.day(max(0, a - 30)), frame.day(b - 1)))
    return found
