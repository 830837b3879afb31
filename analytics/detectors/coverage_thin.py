"""Coverage thin: a device is fitted and says too little to judge by; what cannot be seen must not pass for normal."""

from __future__ import annotations

import numpy as np

from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import OUTSIDE, episodes
from analytics.frame import UnitDayFrame, often

DEFAULTS: Params = {"min_cover": 0.5, "fire": 14.0, "drop": 3.0}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit by each family of devices that it has; an entrance's door is no unit's own."""
    found = []
    for family, cover in (("water", frame["water_cover"]), ("energy", frame["energy_cover"])):
        fitted = frame.fitted[family]
        with np.errstate(invalid="ignore"):
            thin = fitted & ~(cover >= params["min_cover"])
        some = often(thin, params["fire"])
        evidence = np.where(fitted[some], np.where(thin[some], 1.0, -1.0), OUTSIDE)
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"], rows=some):
            days = cover[e.unit, e.span(frame.days)]
            found.append(
                over_days(
                    frame,
                    e.unit,
                    e.start,
                    e.last,
                    score=0.99,
                    reasons=(f"{family}_meter_silent",),
                    evidence={
                        "families": ["meter"],
                        "supply": family,
                        "cover": round(float(np.nansum(days)) / len(days), 2),
                    },
                    known=None,
                )
            )
    return sorted(found, key=lambda f: (f.unit, f.since_ms)), []


DETECTOR = Detector(
    key="coverage_thin",
    version="1",
    family="data",
    inputs=("water_cover", "energy_cover"),
    defaults=DEFAULTS,
    legal_basis="长住建发〔2021〕120号 四（七）1（提高数据质量）",
    runbook="docs/runbooks/coverage_thin.md",
    detect=detect,
)
