"""Overnight e-bike charging: for hours of the night the same power stands over the least of the
day. A weak hint, and no more.

From hourly energy only a plateau of 80 to 450 W that lasts most of the night and is missing in
other nights can be seen; a heater, a fish tank or a machine may look the same (seen from kWh, not
from a waveform). Nobody is visited for it alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.episodes import Episode, find_episodes
from analytics.frame import Mask, UnitDayFrame, often, rolling
from analytics.parameters import DaysOfEvidence, HourCount, Watts

SCORE = 0.2
#: Hours a night above which a plateau is no battery: it is full by then.
_MOST_HOURS = 7
#: A battery is charged on some nights only: so many of four weeks with a plateau, and so many
#: without.
_FOUR_WEEKS = 28
_LEAST_NIGHTS = 4
#: Weight of a night without a plateau.
_PLAIN_NIGHT = -0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class EbikeChargingParams:
    """What a charger looks like in hourly energy."""

    low_w: Watts = 80.0
    """Least power of a charger."""
    high_w: Watts = 450.0
    """Greatest power of a charger."""
    hours: HourCount = 5.0
    """Hours of the night that the plateau must last."""
    fire: DaysOfEvidence = 8.0
    """Nights with a plateau, a quarter of the others taken off, until it is reported."""
    drop: DaysOfEvidence = 5.0
    """The same sum of nights without one until it is over."""


def detect(frame: UnitDayFrame, params: EbikeChargingParams) -> Judgement:
    """Judge every unit by the nights of its electricity meter."""
    level = frame["energy_plateau_w"]
    hours = frame["energy_plateau_h"]
    with np.errstate(invalid="ignore"):
        in_range = (level >= params.low_w) & (level <= params.high_w)
        charging = in_range & (hours >= params.hours) & (hours <= _MOST_HOURS)
    rows = often(charging, params.fire)
    with np.errstate(invalid="ignore"):
        plain = level[rows] < 0.5 * params.low_w
    # Something that runs every night is a machine; a battery is full some nights.
    plain_nights = rolling(plain, _FOUR_WEEKS)
    charging_nights = rolling(charging[rows], _FOUR_WEEKS)
    sometimes = (plain_nights >= _LEAST_NIGHTS) & (charging_nights >= _LEAST_NIGHTS)
    against = np.where(np.isnan(level[rows]), 0.0, _PLAIN_NIGHT)
    evidence = np.where(charging[rows] & sometimes, 1.0, against)
    episodes = find_episodes(evidence, fire=params.fire, drop=params.drop, rows=rows)
    return Judgement([_finding(frame, charging, episode) for episode in episodes], [])


def _finding(frame: UnitDayFrame, charging: Mask, episode: Episode) -> Finding:
    level = frame["energy_plateau_w"]
    row = episode.row
    span = episode.span(frame.days)
    nights = level[row, span][charging[row, span]]
    evidence = Evidence(
        row=row,
        start=episode.start,
        last=episode.last,
        score=SCORE,
        reasons=("plateau_at_night",),
        numbers={
            "families": ["electricity"],
            "plateau_w": round(float(np.median(nights))),
            "nights": len(nights),
        },
    )
    return finding_over_days(frame, evidence, known=~np.isnan(level))


DETECTOR = Detector(
    key="ebike_charging",
    version="1",
    family="hazard",
    inputs=frozenset({"energy_plateau_w", "energy_plateau_h"}),
    params_type=EbikeChargingParams,
    reasons=("plateau_at_night",),
    legal_basis="高层民用建筑消防安全管理规定 第三十七条",
    runbook="docs/runbooks/ebike_charging.md",
    detect=detect,
)
