"""Change of use (擅自改变用途): a shop, an office, a workshop or a dormitory where a household should live.

A business shows by its hours: power in the working day and hardly any at night, people who come and none who stays. A
dormitory shows by its nights: many more people sleep there than are registered, and water to match. Two families must agree;
a fortnight proves little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analytics import strangers
from analytics.detectors.contract import Abstention, Detector, Finding, Params, mean_of, over_days
from analytics.episodes import OUTSIDE, Episode, episodes
from analytics.frame import UnitDayFrame, often

DEFAULTS: Params = {
    "day_share": 0.62,  # of a day's electricity falls into nine hours of work
    "least_kwh": 3.0,
    "callers": 5.0,  # strangers a day at the flat's own door
    "extra_sleepers": 4.0,  # people a night beyond those registered
    "crowd_l": 1.8,  # times the water that the registered would use
    "member_l": 130.0,  # litres a registered resident uses a day; a site sets its own
    "fire": 14.0,
    "drop": 10.0,
}


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit that is let."""
    with np.errstate(invalid="ignore"):
        worked = frame["energy_day_kwh"] > params["day_share"] * frame["energy_kwh"]
        worked &= frame["energy_kwh"] >= params["least_kwh"]
    crowded = strangers.read(frame).staying >= params["extra_sleepers"]
    # Few homes have so many such days at all.
    found = []
    for sign, judge in ((worked, _shops), (crowded, _dormitories)):
        some = often(sign, params["fire"])
        if len(some):
            found += judge(frame.of(some), params)
    return sorted(found, key=lambda f: (f.unit, f.since_ms)), []


def _shops(frame: UnitDayFrame, params: Params) -> list[Finding]:
    kwh, day = frame["energy_kwh"], frame["energy_day_kwh"]
    with np.errstate(invalid="ignore"):
        worked = (day > params["day_share"] * kwh) & (kwh >= params["least_kwh"])
        slept = (frame["residents_nights"] > 0) | (frame["strangers_nights"] > 0)
        dry = (frame["water_night_l"] <= 1.0) & ~slept
        callers = (frame["strangers_seen"] >= params["callers"]) & frame.fitted["lock"]
        evidence = np.where(worked & (callers | dry), 1.0, np.where(day <= 0.5 * kwh, -1.0, 0.0))
    found = []
    for e in _episodes(frame, params, evidence):
        span = e.span(frame.days)
        signs = {
            "business_hours": True,
            "nobody_sleeps": bool(np.mean(dry[e.unit, span]) >= 0.7),
            "many_callers": bool(np.mean(callers[e.unit, span]) >= 0.4),
        }
        found.append(_finding(frame, e, tuple(name for name, holds in signs.items() if holds)))
    return found


def _dormitories(frame: UnitDayFrame, params: Params) -> list[Finding]:
    staying = strangers.read(frame).staying
    with np.errstate(invalid="ignore"):
        crowd = frame["water_l"] >= params["crowd_l"] * params["member_l"] * np.maximum(
            frame.members, 1
        )
    sleeps = np.where(crowd, 1.0, 0.5)
    evidence = np.where(
        staying >= params["extra_sleepers"], sleeps, np.where(staying < 2, -1.0, 0.0)
    )
    found = []
    for e in _episodes(frame, params, evidence):
        agrees = np.mean(crowd[e.unit, e.span(frame.days)]) >= 0.5
        found.append(
            _finding(frame, e, ("dormitory", "water_agrees") if agrees else ("dormitory",))
        )
    return found


def _episodes(frame: UnitDayFrame, params: Params, evidence: NDArray[np.float64]) -> list[Episode]:
    judged = np.where(frame.let & ~frame.declared, evidence, OUTSIDE)
    return episodes(judged, fire=params["fire"], drop=params["drop"])


_FAMILY = {
    "business_hours": "electricity",
    "nobody_sleeps": "water",
    "many_callers": "access",
    "dormitory": "access",
    "water_agrees": "water",
}


def _finding(frame: UnitDayFrame, e: Episode, reasons: tuple[str, ...]) -> Finding:
    u, kwh, span = e.unit, frame["energy_kwh"], e.span(frame.days)
    return over_days(
        frame,
        u,
        e.start,
        e.last,
        # Of one family it is a guess; each further one makes it likely.
        score=(0.55 if "dormitory" in reasons else 0.35)
        + 0.25 * (len({_FAMILY[r] for r in reasons}) - 1),
        reasons=reasons,
        evidence={
            "families": sorted({_FAMILY[r] for r in reasons}),
            "day_share": mean_of(
                frame["energy_day_kwh"][u, span] / np.maximum(kwh[u, span], 0.01), 2
            ),
            "callers_per_day": mean_of(frame["strangers_seen"][u, span], 2),
            "sleepers_per_night": mean_of(strangers.read(frame).staying[u, span], 2),
            "l_per_day": mean_of(frame["water_l"][u, span], 2),
            "registered": int(frame.members[u, span.stop - 1]),
        },
        known=~np.isnan(kwh) | ~np.isnan(frame["entries"]),
        between=(max(0, e.start - 3), min(e.start + 3, frame.days - 1)),
    )


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
