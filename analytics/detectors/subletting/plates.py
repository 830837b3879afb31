"""Evidence of plates: the household's car no longer passes the gate while the flat lives, or passes
as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.detectors.subletting.signs import (
    PAST_DOOR_DAYS,
    Stretch,
    share_of_days,
    strength_of_share,
)
from analytics.frame import UnitDayFrame
from analytics.fusion import Weight, limit_ratio, unseen_ratio
from analytics.parameters import LikelihoodRatio, Share

#: Columns of the frame that are read here.
INPUTS = frozenset({"cars_seen"})
FAMILY = "plates"
_DOUBT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateWeights:
    """Limits of what the household's car says."""

    usual_driven: Share = 0.6
    """Share of days on which a household's car passes the gate, where nothing is known yet."""
    limit_car: LikelihoodRatio = 5.0
    """The car is not seen any more: cars are sold, or stand broken."""
    limit_parked: LikelihoodRatio = 4.0
    """The car is seen as before: some who sublet park on where it is cheap."""


def weigh_plates(
    frame: UnitDayFrame,
    stretch: Stretch,
    weights: PlateWeights,
    *,
    gone_seen: float,
    least_days: int,
) -> list[Weight]:
    """Weigh whether the household's car passes the gate as it used to.

    A car that was never seen there says nothing by not being seen.
    """
    cars = frame["cars_seen"][stretch.row]
    past = stretch.before(PAST_DOOR_DAYS)
    known = ~np.isnan(cars)
    with np.errstate(invalid="ignore"):
        passed = cars > 0
    days = int(known[stretch.recent].sum())
    past_days = int(known[past].sum())
    if days < least_days or past_days < least_days or not passed[past].any():
        return []
    past_passed = float(passed[past].sum())
    usual = share_of_days(past_passed, past_days, weights.usual_driven)
    absent = unseen_ratio(
        np.array(int(passed[stretch.recent].sum())),
        np.array(days),
        np.array(usual),
        strength=strength_of_share(past_days),
        rate=gone_seen,
    )
    ratio = float(absent)
    if ratio > 0:
        bounded = limit_ratio(ratio, weights.limit_car)
        return [Weight(family=FAMILY, reason="car_not_seen", doubt=_DOUBT, ratio=bounded)]
    bounded = -limit_ratio(-ratio, weights.limit_parked)
    return [Weight(family=FAMILY, reason="car_seen", doubt=_DOUBT, ratio=bounded)]
