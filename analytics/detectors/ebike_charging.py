"""Overnight e-bike charging: for hours of the night the same power stands over the least of the day. A weak hint, and no more.

From hourly energy only a plateau of 80 to 450 W that lasts most of the night and is missing in other nights can be seen; a heater, a
fish tank or a machine may look the same (seen from kWh, not from a waveform). Nobody is visited for it alone.
"""

from __future__ import annotations

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import UnitDayFrame, often, rolling

DEFAULTS: Params = {"low_w": 80.0, "high_w": 450.0, "hours": 5.0, "fire": 8.0, "drop": 5.0}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit by the nights of its electricity meter."""
    level, hours = frame["energy_plateau_w"], frame["energy_plateau_h"]
    with np.errstate(invalid="ignore"):
        flat = (
            (level >= params["low_w"])
            & (level <= params["high_w"])
            & (hours >= params["hours"])
            & (hours <= 7)
        )
    some = often(flat, params["fire"])
    with np.errstate(invalid="ignore"):
        plain = level[some] < 0.5 * params["low_w"]
    # Something that runs every night is a machine; a battery is full some nights.
    sometimes = (rolling(plain, 28) >= 4) & (rolling(flat[some], 28) >= 4)
    evidence = np.where(flat[some] & sometimes, 1.0, np.where(np.isnan(level[some]), 0.0, -0.25))
    found = []
    for e in episodes(evidence, fire=params["fire"], drop=params["drop"], rows=some):
        span = e.span(frame.days)
        nights = level[e.unit, span][flat[e.unit, span]]
        told = {
            "families": ["electricity"],
            "plateau_w": round(float(np.median(nights))),
            "nights": len(nights),
        }
        found.append(
            over_days(
                frame,
                e.unit,
                e.start,
                e.last,
                score=0.2,
                reasons=("plateau_at_night",),
                evidence=told,
                known=~np.isnan(level),
            )
        )
    return found, []


DETECTOR = Detector(
    key="ebike_charging",
    version="1",
    family="hazard",
    inputs=("energy_plateau_w", "energy_plateau_h"),
    defaults=DEFAULTS,
    legal_basis="高层民用建筑消防安全管理规定 第三十七条",
    runbook="docs/runbooks/ebike_charging.md",
    detect=detect,
)
