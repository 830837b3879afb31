"""Overload pattern: again and again the flat draws what its line hardly carries. A pattern, never a fire alarm: that is the certified detector's."""

from __future__ import annotations

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import UnitDayFrame, often

DEFAULTS: Params = {
    "limit_w": 6600.0,  # 30 A at 220 V, the usual main switch of a small flat; a site sets its own
    "fire": 3.0,
    "drop": 2.0,
}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit by the greatest mean power of an interval in each day."""
    with np.errstate(invalid="ignore"):
        over = frame["energy_peak_w"] >= params["limit_w"]
        some = often(over, params["fire"])
        below = frame["energy_peak_w"][some] < params["limit_w"]
    evidence = np.where(over[some], 1.0, np.where(below, -0.2, 0.0))
    found = [
        over_days(
            frame,
            e.unit,
            e.start,
            e.last,
            score=0.5,
            reasons=("power_at_the_limit",),
            evidence={
                "families": ["electricity"],
                "peak_w": round(
                    float(np.nanmax(frame["energy_peak_w"][e.unit, e.span(frame.days)]))
                ),
            },
            known=~np.isnan(frame["energy_peak_w"]),
        )
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"], rows=some)
    ]
    return found, []


DETECTOR = Detector(
    key="overload",
    version="1",
    family="hazard",
    inputs=("energy_peak_w",),
    defaults=DEFAULTS,
    legal_basis="赣州市公租房管理 第十三条（电气线路巡查）",
    runbook="docs/runbooks/overload.md",
    detect=detect,
)
