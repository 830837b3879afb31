"""Change of use (擅自改变用途): a shop, an office, a workshop or a dormitory where a household
should live.

A business shows by its hours: power in the working day and hardly any at night, people who come and
none who stays. A dormitory shows by its nights: many more people sleep there than are registered,
and water to match. Two families must agree; a fortnight proves little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.contract import (
    Detector,
    Evidence,
    Finding,
    Judgement,
    days_around,
    finding_over_days,
    mean_of,
)
from analytics.episodes import OUTSIDE, Episode, find_episodes
from analytics.frame import Mask, UnitDayFrame, often
from analytics.parameters import Count, DaysOfEvidence, KilowattHours, Litres, Multiple, Share
from analytics.presence import LITRES_PER_MEMBER
from analytics.strangers import read_stranger_nights

#: Score of one family alone: a guess, for a shop less than for a dormitory. Each further family
#: makes it likelier.
_SHOP_SCORE = 0.35
_DORMITORY_SCORE = 0.55
_FURTHER_FAMILY = 0.25
#: Share of an episode's days on which a sign must hold before it is a reason.
_DRY_NIGHTS = 0.7
_CALLED_DAYS = 0.4
_CROWDED_DAYS = 0.5
#: Litres a night up to which nobody sleeps there.
_DRY_NIGHT_L = 1.0
#: Share of a day's electricity within working hours up to which the day speaks against a shop.
_HOMELY_DAY_SHARE = 0.5
#: Strangers who stay, under which a night speaks against a dormitory; weight of a crowded night
#: without much water.
_FEW_SLEEPERS = 2
_CROWD_WITHOUT_WATER = 0.5
#: Days before and after the likeliest first day between which it is thought to have begun.
_BEGAN_WITHIN = 3
#: The family of evidence of each reason.
_FAMILY_OF = {
    "business_hours": "electricity",
    "nobody_sleeps": "water",
    "many_callers": "access",
    "dormitory": "access",
    "water_agrees": "water",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeOfUseParams:
    """What a shop's day and a dormitory's night look like."""

    day_share: Share = 0.62
    """Share of a day's electricity within nine working hours above which the day is a business's.
    """
    least_kwh: KilowattHours = 3.0
    """kWh a day under which a day says nothing."""
    callers: Count = 5.0
    """Strangers a day at the flat's own door from which they are callers."""
    extra_sleepers: Count = 4.0
    """People a night beyond those registered from which it is a dormitory."""
    crowd_l: Multiple = 1.8
    """Multiple of the water of the registered residents from which the water agrees."""
    member_l: Litres = LITRES_PER_MEMBER
    """Litres that a registered resident uses a day; a site sets its own."""
    fire: DaysOfEvidence = 14.0
    """Days that look so, homely days taken off, until it is sure."""
    drop: DaysOfEvidence = 10.0
    """Homely days until it is over."""


def detect(frame: UnitDayFrame, params: ChangeOfUseParams) -> Judgement:
    """Judge every unit that is let; few homes have so many such days at all."""
    found: list[Finding] = []
    rows = often(_business_days(frame, params), params.fire)
    if len(rows):
        found += _find_shops(frame.of(rows), params)
    crowded = read_stranger_nights(frame).staying >= params.extra_sleepers
    rows = often(crowded, params.fire)
    if len(rows):
        found += _find_dormitories(frame.of(rows), params)
    return Judgement(sorted(found, key=lambda f: (f.unit, f.since_ms)), [])


def _business_days(frame: UnitDayFrame, params: ChangeOfUseParams) -> Mask:
    """Return the days whose electricity falls into working hours."""
    kwh = frame["energy_kwh"]
    with np.errstate(invalid="ignore"):
        by_day: Mask = frame["energy_day_kwh"] > params.day_share * kwh
        return by_day & (kwh >= params.least_kwh)


def _find_shops(frame: UnitDayFrame, params: ChangeOfUseParams) -> list[Finding]:
    business = _business_days(frame, params)
    with np.errstate(invalid="ignore"):
        slept = (frame["residents_nights"] > 0) | (frame["strangers_nights"] > 0)
        dry = (frame["water_night_l"] <= _DRY_NIGHT_L) & ~slept
        called = (frame["strangers_seen"] >= params.callers) & frame.fitted["lock"]
        homely = frame["energy_day_kwh"] <= _HOMELY_DAY_SHARE * frame["energy_kwh"]
    evidence = np.where(business & (called | dry), 1.0, np.where(homely, -1.0, 0.0))
    found = []
    for episode in _episodes(frame, params, evidence):
        span = episode.span(frame.days)
        reasons = ["business_hours"]
        if np.mean(dry[episode.row, span]) >= _DRY_NIGHTS:
            reasons.append("nobody_sleeps")
        if np.mean(called[episode.row, span]) >= _CALLED_DAYS:
            reasons.append("many_callers")
        found.append(_finding(frame, episode, tuple(reasons), _SHOP_SCORE))
    return found


def _find_dormitories(frame: UnitDayFrame, params: ChangeOfUseParams) -> list[Finding]:
    staying = read_stranger_nights(frame).staying
    likely = params.crowd_l * params.member_l * np.maximum(frame.members, 1)
    with np.errstate(invalid="ignore"):
        much_water = frame["water_l"] >= likely
    crowd = np.where(much_water, 1.0, _CROWD_WITHOUT_WATER)
    few = np.where(staying < _FEW_SLEEPERS, -1.0, 0.0)
    evidence = np.where(staying >= params.extra_sleepers, crowd, few)
    found = []
    for episode in _episodes(frame, params, evidence):
        reasons = ["dormitory"]
        if np.mean(much_water[episode.row, episode.span(frame.days)]) >= _CROWDED_DAYS:
            reasons.append("water_agrees")
        found.append(_finding(frame, episode, tuple(reasons), _DORMITORY_SCORE))
    return found


def _episodes(
    frame: UnitDayFrame, params: ChangeOfUseParams, evidence: NDArray[np.float64]
) -> list[Episode]:
    judged = np.where(frame.let & ~frame.declared, evidence, OUTSIDE)
    return find_episodes(judged, fire=params.fire, drop=params.drop)


def _finding(
    frame: UnitDayFrame, episode: Episode, reasons: tuple[str, ...], score: float
) -> Finding:
    row = episode.row
    span = episode.span(frame.days)
    kwh = frame["energy_kwh"]
    families = sorted({_FAMILY_OF[reason] for reason in reasons})
    day_share = frame["energy_day_kwh"][row, span] / np.maximum(kwh[row, span], 0.01)
    evidence = Evidence(
        row=row,
        start=episode.start,
        last=episode.last,
        score=score + _FURTHER_FAMILY * (len(families) - 1),
        reasons=reasons,
        numbers={
            "families": families,
            "day_share": mean_of(day_share, 2),
            "callers_per_day": mean_of(frame["strangers_seen"][row, span], 2),
            "sleepers_per_night": mean_of(read_stranger_nights(frame).staying[row, span], 2),
            "l_per_day": mean_of(frame["water_l"][row, span], 2),
            "registered": int(frame.members[row, span.stop - 1]),
        },
        began_between=days_around(frame, episode.start, _BEGAN_WITHIN),
    )
    return finding_over_days(frame, evidence, known=~np.isnan(kwh) | ~np.isnan(frame["entries"]))


DETECTOR = Detector(
    key="change_of_use",
    version="1",
    family="compliance",
    inputs=frozenset(
        {
            "energy_day_kwh",
            "energy_kwh",
            "entries",
            "residents_nights",
            "strangers_nights",
            "strangers_seen",
            "water_l",
            "water_night_l",
        }
    ),
    params_type=ChangeOfUseParams,
    reasons=tuple(_FAMILY_OF),
    legal_basis="公共租赁住房管理办法 第二十七条（改变用途）；赣州市公租房管理 第五条、第九条",
    runbook="docs/runbooks/change_of_use.md",
    detect=detect,
)
