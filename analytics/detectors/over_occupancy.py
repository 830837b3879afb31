"""Over-occupancy (超员): night after night more people sleep in the flat than are registered, and the water agrees.

Head-count from water alone is worthless (correlation with the declared household: 0.45), so doors must say it and water may only
agree. Guests for the festival, a newborn's grandmother and a declared carer are no over-occupancy: weeks count.
"""

from __future__ import annotations

import numpy as np

from analytics import strangers
from analytics.detectors.contract import Abstention, Detector, Finding, Params, mean_of, over_days
from analytics.episodes import OUTSIDE, episodes
from analytics.frame import UnitDayFrame, often

DEFAULTS: Params = {
    "extra": 2.0,  # strangers who stay
    "dormitory": 5.0,  # and so many are a dormitory
    "fire": 30.0,
    "drop": 14.0,
    "water_rise": 1.3,  # times what the home, or where that is unknown its like, used before
    "member_l": 130.0,
}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit with its own lock."""
    staying = strangers.read(frame).staying
    over = (staying >= params["extra"]) & (staying < params["dormitory"])
    some = often(over, params["fire"])
    seen, few = frame["residents_seen"][some], staying[some] < params["extra"]
    lock = (frame.fitted["lock"] & frame.let & ~frame.declared & ~frame.spoken_for)[some]
    with np.errstate(invalid="ignore"):
        # Where the tenants are gone it is another matter.
        weight = np.where(seen > 0, 1.0, np.where(np.isnan(seen), 0.0, -0.2))
    evidence = np.where(lock, np.where(over[some], weight, np.where(few, -1.0, 0.0)), OUTSIDE)
    found = []
    for e in episodes(evidence, fire=params["fire"], drop=params["drop"], rows=some):
        span = e.span(frame.days)
        likely = (
            params["water_rise"] * params["member_l"] * np.maximum(frame.members[e.unit, span], 1)
        )
        with np.errstate(invalid="ignore"):
            agrees = bool(np.count_nonzero((frame["water_l"][e.unit, span] >= likely)[-28:]) >= 18)
        found.append(
            over_days(
                frame,
                e.unit,
                e.start,
                e.last,
                score=0.65 if agrees else 0.4,
                reasons=("more_sleep_there", "water_agrees") if agrees else ("more_sleep_there",),
                evidence={
                    "families": ["access", "water"] if agrees else ["access"],
                    "sleepers_per_night": round(
                        float(
                            np.mean(staying[e.unit, span]) + frame.members[e.unit, span.stop - 1]
                        ),
                        1,
                    ),
                    "registered": int(frame.members[e.unit, span.stop - 1]),
                    "l_per_day": mean_of(frame["water_l"][e.unit, span], 1),
                },
                known=~np.isnan(frame["entries"]),
                between=(max(0, e.start - 3), min(e.start + 3, frame.days - 1)),
            )
        )
    return found, []


DETECTOR = Detector(
    key="over_occupancy",
    version="1",
    family="compliance",
    inputs=("residents_nights", "strangers_nights", "water_l"),
    defaults=DEFAULTS,
    legal_basis="赣州市公租房管理 第十一条（定期上户走访，掌握使用状况）",
    runbook="docs/runbooks/over_occupancy.md",
    detect=detect,
)
