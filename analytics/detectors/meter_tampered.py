"""Meter tampered with: the home lives as before by one meter, and by the other suddenly uses a fraction.

Electricity drawn past its meter leaves water and people as they were; so a fall below a third of the usual for weeks, beside an
unchanged other supply, is a bypass, a magnet or a wire that came loose. A stuck meter (`meter_stuck`) counts nothing at all.
"""

from __future__ import annotations

import numpy as np

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import UnitDayFrame, often

DEFAULTS: Params = {
    **presence.DEFAULTS,
    "share": 0.33,
    "steady": 0.6,
    "fire": 21.0,
    "drop": 6.0,
    "still_kwh": 0.02,
}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit that has both meters."""
    p = presence.read(frame, params)
    kwh, usual = frame["energy_kwh"], p.usual_kwh[:, None]
    with np.errstate(invalid="ignore"):
        low = (kwh < params["share"] * usual) & (kwh > params["still_kwh"])
        steady = (p.used_l > params["steady"] * p.usual_l[:, None]) & p.water_used
    covered = (frame["energy_cover"] >= params["min_cover"]) & (
        frame["water_cover"] >= params["min_cover"]
    )
    signs = low & steady & covered
    some = often(signs, params["fire"])
    with np.errstate(invalid="ignore"):
        full = kwh[some] > 0.6 * usual[some]
    against = np.where(full, -2.0, np.where(low[some], 0.0, -0.3)) * covered[some]
    evidence = np.where(signs[some], 1.0, against)
    found = [
        over_days(
            frame,
            e.unit,
            e.start,
            e.last,
            score=0.6,
            reasons=("power_fell_life_goes_on",),
            evidence={
                "families": ["meter"],
                "supply": "electricity",
                "usual_kwh": round(float(p.usual_kwh[e.unit]), 2),
                "kwh_per_day": round(
                    float(np.nanmean(frame["energy_kwh"][e.unit, e.span(frame.days)])), 2
                ),
            },
            known=covered,
        )
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"], rows=some)
    ]
    return found, []


DETECTOR = Detector(
    key="meter_tampered",
    version="1",
    family="data",
    inputs=("water_l", "energy_kwh"),
    defaults=DEFAULTS,
    legal_basis="电力供应与使用条例 第三十一条；长住建发〔2021〕120号 四（七）1",
    runbook="docs/runbooks/meter_tampered.md",
    detect=detect,
)
