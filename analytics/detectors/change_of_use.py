"""Change of use (擅自改变用途): a shop, an office, a workshop or a dormitory where a household should live.

A business shows by its hours: power in the working day and hardly any at night, people who come and none who stays. A
dormitory shows by its nights: many more people sleep there than are registered, and water to match. Two families must agree;
a fortnight proves little.
"""

from __future__ import annotations

import numpy as np

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import episodes
from analytics.frame import Frame, rolling

DEFAULTS: Params = {
    **presence.DEFAULTS,
    "day_share": 0.62,  # of a day's electricity falls into nine hours of work
    "least_kwh": 3.0,
    "callers": 5.0,  # strangers a day at the flat's own door
    "extra_sleepers": 4.0,  # people a night beyond those registered
    "crowd_l": 1.8,  # times the water that the registered would use
    "member_l": 130.0,  # litres a registered resident uses a day; a site sets its own
    "fire": 14.0,
    "drop": 10.0,
}


def detect(frame: Frame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit that is let."""
    kwh, day = frame["energy_kwh"], frame["energy_day_kwh"]
    with np.errstate(invalid="ignore", divide="ignore"):
        worked = (day > params["day_share"] * kwh) & (kwh >= params["least_kwh"])
        homely = (day <= 0.5 * kwh) & ~np.isnan(day)
        dry_nights = (frame["water_night_l"] <= 1.0) & (frame["residents_nights"] + frame["strangers_nights"] == 0)
        callers = (frame["strangers_seen"] >= params["callers"]) & frame.fitted["lock"]
        registered = np.maximum(frame.members, 1.0)
        sleepers = frame["residents_nights"] + frame["strangers_nights"] >= registered + params["extra_sleepers"]
        crowd = frame["water_l"] >= params["crowd_l"] * params["member_l"] * registered
        few = (frame["residents_nights"] + frame["strangers_nights"] <= registered) & frame.fitted["lock"]
    trade = np.where(worked & (callers | dry_nights), 1.0, np.where(homely, -1.0, 0.0))
    dormitory = np.where(sleepers & crowd, 1.0, np.where(few & ~crowd, -1.0, 0.0))
    known = ~np.isnan(kwh) | ~np.isnan(frame["entries"])
    found = []
    for evidence, reason in ((trade, "business_hours"), (dormitory, "dormitory")):
        evidence = np.where(frame.let & ~frame.declared, evidence, -1e6)
        for e in episodes(evidence, fire=params["fire"], drop=params["drop"]):
            span = slice(e.start, frame.days if e.last is None else e.last + 1)
            called = bool(rolling(callers[e.unit : e.unit + 1, span], 28)[0, -1] >= 10)
            reasons = (reason, "many_callers") if reason == "business_hours" and called else (reason,)
            found.append(
                over_days(
                    frame, e.unit, e.start, e.last,
                    score=0.35 + 0.25 * (len(reasons) - 1) + (0.2 if reason == "dormitory" else 0.0),
                    reasons=reasons,
                    evidence={
                        "families": ["electricity", "access"] if reason == "business_hours" else ["access", "water"],
                        "day_share": _mean(day[e.unit, span] / np.maximum(kwh[e.unit, span], 0.01)),
                        "callers_per_day": _mean(frame["strangers_seen"][e.unit, span]),
                        "sleepers_per_night": _mean((frame["residents_nights"] + frame["strangers_nights"])[e.unit, span]),
                        "l_per_day": _mean(frame["water_l"][e.unit, span]),
                        "registered": int(frame.members[e.unit, span.stop - 1]),
                    },
                    known=known,
                    between=(max(0, e.start - 3), min(e.start + 3, frame.days - 1)),
                )
            )  # fmt: skip
    return sorted(found, key=lambda f: (f.unit, f.since_ms)), []


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float | None:
    return None if np.isnan(values).all() else round(float(np.nanmean(values)), 2)


DETECTOR = Detector(
    key="change_of_use",
    version="1",
    family="compliance",
    inputs=("energy_day_kwh", "strangers_seen", "strangers_nights", "water_l"),
    defaults=DEFAULTS,
    legal_basis="公共租赁住房管理办法 第二十七条（改变用途）；赣州市公租房管理 第五条、第九条",
    runbook="docs/runbooks/change_of_use.md",
    detect=detect,
)
