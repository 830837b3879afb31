"""Subletting and lending (转租转借): others live in the flat than those to whom it is let.

No sign alone is worth a visit at a base rate of 0.35 %, so families of evidence are weighed
together (`analytics.fusion`):

* access: registered residents are no longer seen while the flat lives; the same strangers spend
  many nights; guests change by the week; a resident's card opens for somebody else;
* plates: the household's car no longer passes the gate while the flat lives, or passes as before;
* water and electricity: the flat lives while its residents are not seen, and it lives differently
  than before;
* tip-offs, and facts that other offices reported.

When it began is where the evidence of access, added up day by day, last left nothing. A declared
guest or carer, a new tenancy, a repair, a newborn's grandmother (residents are seen as before)
speak against it. At least two families must speak for it, or there is no finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analytics import fusion
from analytics.detectors.contract import (
    Abstention,
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
)
from analytics.detectors.subletting import access, meters, plates, signs
from analytics.detectors.subletting.access import AccessWeights, weigh_access
from analytics.detectors.subletting.meters import MeterWeights, fell_by_half, weigh_meters
from analytics.detectors.subletting.plates import PlateWeights, weigh_plates
from analytics.detectors.subletting.reports import ReportWeights, weigh_reports
from analytics.detectors.subletting.signs import (
    RECENT_DAYS,
    SightingParams,
    Stretch,
    SublettingSigns,
    read_signs,
)
from analytics.episodes import OUTSIDE, Episode, find_episodes
from analytics.frame import UnitDayFrame, count
from analytics.fusion import Weight
from analytics.parameters import DayCount, DaysOfEvidence, LogOdds, Share
from analytics.presence import PresenceParams

#: Log likelihood ratio from which a family speaks for it, and from which a reason is named.
_FAMILY_SPEAKS = 0.5
_REASON_NAMED = 0.3
#: Families that must speak for it.
_LEAST_FAMILIES = 2
#: A sighting so many days before the start bounds when it began; otherwise it is so many days to
#: either side.
_LAST_SEEN_WITHIN = 14
_BEGAN_WITHIN = 7
#: Share of the last eight weeks that doors and meters must cover to judge by.
_LEAST_COVER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SublettingParams:
    """Weights and limits. A limit is how much rarer than subletting the commonest innocent
    explanation is.
    """

    presence: PresenceParams = field(default_factory=PresenceParams)
    sightings: SightingParams = field(default_factory=SightingParams)
    access: AccessWeights = field(default_factory=AccessWeights)
    meters: MeterWeights = field(default_factory=MeterWeights)
    plates: PlateWeights = field(default_factory=PlateWeights)
    reports: ReportWeights = field(default_factory=ReportWeights)
    base_rate: Share = fusion.BASE_RATE
    """Share of let homes that are sublet (campaign of 50,000 visits)."""
    report_from: Share = 0.1
    """Chance, before it is calibrated, from which there is a finding."""
    shift: LogOdds = 1.4
    """Calibration: log odds become shift + stretch × log odds; as leads came true in six simulated
    cities (103 to 108).
    """
    stretch: LogOdds = 1.2
    """The calibration's factor, until a proposal made from visits is adopted here."""
    settle_days: DayCount = 28
    """Days after moving in that say nothing: relatives help, cards are not registered yet."""
    least_days: DayCount = 28
    """Days that a stretch and its known days must have: weeks, not days."""
    fire: DaysOfEvidence = 4.0
    """Sum of daily log likelihood ratios from which a stretch is weighed."""
    drop: DaysOfEvidence = 5.0
    """Fall of that sum by which the stretch is over."""


def detect(frame: UnitDayFrame, params: SublettingParams) -> Judgement:
    """Judge every unit that is let."""
    days = read_signs(frame, params.presence, params.sightings)
    with np.errstate(invalid="ignore"):
        days_since_let = np.arange(frame.days, dtype=np.float32) - frame.let_since
        settled = days_since_let >= np.float32(params.settle_days)
    daily = days.daily * (settled & ~frame.declared)
    daily[~frame.let] = OUTSIDE
    findings = []
    for episode in find_episodes(daily, fire=params.fire, drop=params.drop):
        finding = _judge_episode(frame, params, days, episode)
        if finding is not None:
            findings.append(finding)
    return Judgement(findings, _abstentions(frame, days))


def _judge_episode(
    frame: UnitDayFrame, params: SublettingParams, days: SublettingSigns, episode: Episode
) -> Finding | None:
    """Weigh all evidence about one episode; None where it is too short or too weak."""
    stretch = Stretch(row=episode.row, start=episode.start, end=episode.span(frame.days).stop)
    if stretch.end - stretch.start < params.least_days:
        return None
    weights = _weigh_families(frame, params, days, stretch)
    families = sorted({w.family for w in weights if w.ratio > _FAMILY_SPEAKS})
    raw = fusion.fuse_weights(weights, params.base_rate)
    if raw.chance < params.report_from or len(families) < _LEAST_FAMILIES:
        return None
    likely = raw.calibrated(params.shift, params.stretch)
    strongest_first = sorted(weights, key=lambda w: -w.ratio)
    evidence = Evidence(
        row=stretch.row,
        start=stretch.start,
        last=episode.last,
        score=likely.chance,
        reasons=tuple(w.reason for w in strongest_first if w.ratio > _REASON_NAMED),
        numbers={
            "families": families,
            "chance_low": round(likely.low, 3),
            "chance_high": round(likely.high, 3),
            "weights": {w.reason: round(w.ratio, 2) for w in weights},
            **_counts(frame, days, stretch),
        },
        began_between=_began_between(days, stretch),
    )
    known = days.known | days.presence.living | days.presence.empty
    return finding_over_days(frame, evidence, known=known)


def _weigh_families(
    frame: UnitDayFrame, params: SublettingParams, days: SublettingSigns, stretch: Stretch
) -> list[Weight]:
    least_days = params.least_days
    weights = weigh_access(
        frame, days, stretch, params.sightings, params.access, least_days=least_days
    )
    weights += weigh_meters(frame, days, stretch, params.meters)
    if not fell_by_half(weights):
        # Who left took the car along: then it says nothing of others.
        weights += weigh_plates(
            frame,
            stretch,
            params.plates,
            gone_seen=params.sightings.gone_seen,
            least_days=least_days,
        )
    return weights + weigh_reports(frame, stretch, params.reports)


def _counts(frame: UnitDayFrame, days: SublettingSigns, stretch: Stretch) -> dict[str, Any]:
    """Return what a person can check of the last eight weeks."""
    row = stretch.row
    recent = stretch.recent
    nights = int(days.staying[row, recent].sum() + days.fleeting[row, recent].sum())
    return {
        "days_known": int(days.known[row, recent].sum()),
        "days_seen": int(days.seen[row, recent].sum()),
        "days_car_seen": int((frame["cars_seen"][row, recent] > 0).sum()),
        "nights_strangers": nights,
        "usual_seen": round(float(days.usual_seen[row]), 2),
    }


def _began_between(days: SublettingSigns, stretch: Stretch) -> tuple[int, int]:
    """Return the columns between which it is thought to have begun."""
    start = stretch.start
    latest = min(start + _BEGAN_WITHIN, stretch.end - 1)
    seen_before = np.flatnonzero(days.seen[stretch.row, :start])
    if len(seen_before) and start - seen_before[-1] < _LAST_SEEN_WITHIN:
        return int(seen_before[-1]), latest
    return max(0, start - _BEGAN_WITHIN), latest


def _abstentions(frame: UnitDayFrame, days: SublettingSigns) -> list[Abstention]:
    """Report which units could not be judged over the last eight weeks, and for want of what."""
    if frame.days < RECENT_DAYS:
        return []
    first = frame.days - RECENT_DAYS
    span = slice(first, frame.days)
    door_cover = count(days.known[:, span]) / RECENT_DAYS
    shown = days.presence.living[:, span] | days.presence.empty[:, span]
    meter_cover = count(shown) / RECENT_DAYS
    blind = (door_cover < _LEAST_COVER) | (meter_cover < _LEAST_COVER)
    found = []
    for row in np.flatnonzero(frame.let[:, span].all(axis=1) & blind).tolist():
        if door_cover[row] < _LEAST_COVER:
            reason = "door_silent" if frame.fitted["door"][row, span].any() else "no_door"
        else:
            metered = frame.fitted["water"][row, span] | frame.fitted["energy"][row, span]
            reason = "meters_silent" if metered.any() else "no_meter"
        unit = int(frame.units[row])
        found.append(Abstention(unit=unit, first=first, last=frame.days - 1, reason=reason))
    return found


DETECTOR = Detector(
    key="subletting",
    version="3",
    family="compliance",
    inputs=signs.INPUTS | access.INPUTS | meters.INPUTS | plates.INPUTS,
    params_type=SublettingParams,
    reasons=(
        "residents_gone_strangers_stay",
        "guests_by_the_week",
        "several_strangers_stay",
        "card_lent",
        "stranger_stays",
        "residents_not_seen",
        "water_used_while_unseen",
        "water_changed",
        "power_used_while_unseen",
        "power_changed",
        "car_not_seen",
        "car_seen",
        "tip_off",
        "lives_elsewhere",
    ),
    abstention_reasons=("no_door", "door_silent", "no_meter", "meters_silent"),
    legal_basis="公共租赁住房管理办法 第二十七条（转租、转借）；长住建发〔2021〕120号 四（三）",
    runbook="docs/runbooks/subletting.md",
    detect=detect,
)
