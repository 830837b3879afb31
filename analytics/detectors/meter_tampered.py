"""Meter tampered with: the home lives as before by one meter, and by the other suddenly uses a
fraction.

Electricity drawn past its meter leaves water and people as they were; so a fall below a third of
the usual for weeks, beside an unchanged other supply, is a bypass, a magnet or a wire that came
loose. A stuck meter (`meter_stuck`) counts nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from analytics import presence
from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.detectors.meter_stuck import STILL_KWH
from analytics.episodes import Episode, find_episodes
from analytics.frame import Mask, UnitDayFrame, often
from analytics.parameters import DaysOfEvidence, KilowattHours, Share
from analytics.presence import Presence, PresenceParams, read_presence

SCORE = 0.6
#: Share of a lived-in day's electricity above which a day is full, and speaks against it.
_FULL_SHARE = 0.6
#: Weight of a full day, and of a day between full and low.
_FULL = -2.0
_BETWEEN = -0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTamperedParams:
    """When electricity is too little beside the water."""

    presence: PresenceParams = field(default_factory=PresenceParams)
    share: Share = 0.33
    """Share of a lived-in day's electricity under which a day is low."""
    steady: Share = 0.6
    """Share of a lived-in day's water above which life goes on."""
    fire: DaysOfEvidence = 21.0
    """Low days with steady water, others taken off, until it is sure."""
    drop: DaysOfEvidence = 6.0
    """Evidence against until it is over; three full days are enough."""
    still_kwh: KilowattHours = STILL_KWH
    """kWh a day up to which the register stands still, which is another fault."""


def detect(frame: UnitDayFrame, params: MeterTamperedParams) -> Judgement:
    """Judge every unit that has both meters."""
    days = read_presence(frame, params.presence)
    kwh = frame["energy_kwh"]
    usual_kwh = days.usual_kwh[:, None]
    with np.errstate(invalid="ignore"):
        low = (kwh < params.share * usual_kwh) & (kwh > params.still_kwh)
        steady = (days.used_l > params.steady * days.usual_l[:, None]) & days.water_used
    least = params.presence.min_cover
    covered = (frame["energy_cover"] >= least) & (frame["water_cover"] >= least)
    bypassed = low & steady & covered
    rows = often(bypassed, params.fire)
    with np.errstate(invalid="ignore"):
        full = kwh[rows] > _FULL_SHARE * usual_kwh[rows]
    against = np.where(full, _FULL, np.where(low[rows], 0.0, _BETWEEN)) * covered[rows]
    evidence = np.where(bypassed[rows], 1.0, against)
    episodes = find_episodes(evidence, fire=params.fire, drop=params.drop, rows=rows)
    return Judgement([_finding(frame, days, covered, episode) for episode in episodes], [])


def _finding(frame: UnitDayFrame, days: Presence, covered: Mask, episode: Episode) -> Finding:
    row = episode.row
    kwh = frame["energy_kwh"][row, episode.span(frame.days)]
    evidence = Evidence(
        row=row,
        start=episode.start,
        last=episode.last,
        score=SCORE,
        reasons=("power_fell_life_goes_on",),
        numbers={
            "families": ["meter"],
            "supply": "electricity",
            "usual_kwh": round(float(days.usual_kwh[row]), 2),
            "kwh_per_day": round(float(np.nanmean(kwh)), 2),
        },
    )
    return finding_over_days(frame, evidence, known=covered)


DETECTOR = Detector(
    key="meter_tampered",
    version="1",
    family="data",
    inputs=presence.INPUTS,
    params_type=MeterTamperedParams,
    reasons=("power_fell_life_goes_on",),
    legal_basis="电力供应与使用条例 第三十一条；长住建发〔2021〕120号 四（七）1",
    runbook="docs/runbooks/meter_tampered.md",
    detect=detect,
)
