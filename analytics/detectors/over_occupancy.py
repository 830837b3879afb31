"""Over-occupancy (超员): night after night more people sleep in the flat than are registered, and
the water agrees.

Head-count from water alone is worthless (correlation with the declared household: 0.45), so doors
must show it and water may only agree. Guests for the festival, a newborn's grandmother and a
declared carer are no over-occupancy: weeks count.
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
from analytics.frame import UnitDayFrame, often
from analytics.parameters import Count, DaysOfEvidence, Litres, Multiple
from analytics.presence import LITRES_PER_MEMBER
from analytics.strangers import read_stranger_nights

#: Score where the doors alone show it, and where the water agrees.
SCORE = 0.4
SCORE_WITH_WATER = 0.65
#: Weight of a crowded night on a day on which no resident was seen: where the tenants are gone it
#: is another matter.
_RESIDENTS_UNSEEN = -0.2
#: The water agrees where it is much on so many of the last days.
_RECENT_DAYS = 28
_AGREEING_DAYS = 18
#: Days before and after the likeliest first day between which it is thought to have begun.
_BEGAN_WITHIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OverOccupancyParams:
    """How many people for how long are too many."""

    extra: Count = 2.0
    """Strangers who stay from which it is over-occupancy."""
    dormitory: Count = 5.0
    """Strangers who stay from which it is a dormitory (`change_of_use`)."""
    fire: DaysOfEvidence = 30.0
    """Crowded nights, the others taken off, until it is sure: weeks, not a festival."""
    drop: DaysOfEvidence = 14.0
    """Other nights until it is over."""
    water_rise: Multiple = 1.3
    """Multiple of the water of the registered residents from which the water agrees."""
    member_l: Litres = LITRES_PER_MEMBER
    """Litres that a registered resident uses a day; a site sets its own."""


def detect(frame: UnitDayFrame, params: OverOccupancyParams) -> Judgement:
    """Judge every unit with its own lock."""
    staying = read_stranger_nights(frame).staying
    crowded = (staying >= params.extra) & (staying < params.dormitory)
    rows = often(crowded, params.fire)
    seen = frame["residents_seen"][rows]
    few = staying[rows] < params.extra
    judged = frame.fitted["lock"] & frame.let & ~frame.declared & ~frame.spoken_for
    with np.errstate(invalid="ignore"):
        unseen = np.where(np.isnan(seen), 0.0, _RESIDENTS_UNSEEN)
        weight = np.where(seen > 0, 1.0, unseen)
    nights = np.where(crowded[rows], weight, np.where(few, -1.0, 0.0))
    evidence = np.where(judged[rows], nights, OUTSIDE)
    episodes = find_episodes(evidence, fire=params.fire, drop=params.drop, rows=rows)
    return Judgement([_finding(frame, params, staying, episode) for episode in episodes], [])


def _finding(
    frame: UnitDayFrame,
    params: OverOccupancyParams,
    staying: NDArray[np.float32],
    episode: Episode,
) -> Finding:
    row = episode.row
    span = episode.span(frame.days)
    agrees = _water_agrees(frame, params, row, span)
    registered = frame.members[row, span.stop - 1]
    sleepers = float(np.mean(staying[row, span]) + registered)
    reasons = ["more_sleep_there"]
    families = ["access"]
    if agrees:
        reasons.append("water_agrees")
        families.append("water")
    evidence = Evidence(
        row=row,
        start=episode.start,
        last=episode.last,
        score=SCORE_WITH_WATER if agrees else SCORE,
        reasons=tuple(reasons),
        numbers={
            "families": families,
            "sleepers_per_night": round(sleepers, 1),
            "registered": int(registered),
            "l_per_day": mean_of(frame["water_l"][row, span], 1),
        },
        began_between=days_around(frame, episode.start, _BEGAN_WITHIN),
    )
    return finding_over_days(frame, evidence, known=~np.isnan(frame["entries"]))


def _water_agrees(frame: UnitDayFrame, params: OverOccupancyParams, row: int, span: slice) -> bool:
    members = np.maximum(frame.members[row, span], 1)
    likely = params.water_rise * params.member_l * members
    with np.errstate(invalid="ignore"):
        much = frame["water_l"][row, span] >= likely
    return bool(np.count_nonzero(much[-_RECENT_DAYS:]) >= _AGREEING_DAYS)


DETECTOR = Detector(
    key="over_occupancy",
    version="1",
    family="compliance",
    inputs=frozenset({"entries", "residents_seen", "water_l"}),
    params_type=OverOccupancyParams,
    reasons=("more_sleep_there", "water_agrees"),
    legal_basis="赣州市公租房管理 第十一条（定期上户走访，掌握使用状况）",
    runbook="docs/runbooks/over_occupancy.md",
    detect=detect,
)
