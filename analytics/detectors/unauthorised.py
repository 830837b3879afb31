"""Life in a flat that nobody rents: unauthorised occupation, and a tenancy that ended and is still
used (占用, 到期不退).

Both are the same observation, evidence of life added up day by day (`analytics.episodes`) over the
days without a tenancy; they differ in how it began. What goes on from a tenancy that ended is
`tenancy_ended`; what begins in an empty flat is `unauthorised`. Workmen are not tenants: water by
day alone counts for little. A leak is not life.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import (
    Abstention,
    Detector,
    Evidence,
    Finding,
    Judgement,
    finding_over_days,
    mean_of,
)
from analytics.episodes import OUTSIDE, Episode, find_episodes
from analytics.frame import Mask, UnitDayFrame, often, runs_of
from analytics.parameters import DayCount, DaysOfEvidence, KilowattHours, Litres, Share
from analytics.presence import Presence, PresenceParams, machine_like_days, read_presence
from domain.calendar import HOUR_MS
from domain.people import PersonKind

#: Who is back within so many days of the end of the tenancy had only been away.
_BACK_DAYS = 21
#: Who still lived there when it was time to be gone may be away for a longer holiday.
_HOLIDAY_DAYS = 35
#: Share of an episode's days on which former residents are seen, from which the episode is theirs.
_FORMER_SHARE = 0.2
#: Water before the one hour or after the other is somebody's who lives there; workmen come between
#: them.
_EARLY_HOUR = 7.5
_LATE_HOUR = 20
#: Hours with flow under which water is no life.
_LEAST_WATER_HOURS = 2
#: Weights of a day: life by water; water of a daily meter, whose hours are unknown; power alone; a
#: stranger's night; nobody.
_LIVED = 1.0
_USED_SOMETIME = 0.2
_POWER_ALONE = 0.7
_NIGHT = 0.7
_GONE = -1.0
#: Share of a day's electricity within working hours above which power is workmen's.
_WORKMEN_SHARE = 0.6
#: Share of the limit of a lived-in day's electricity up to which a day is dark.
_DARK_SHARE = 0.5
#: Median kWh a day above which electricity is named as a reason.
_NAMED_KWH = 1.5
#: A finding of one family is wrong with this chance; each further one leaves this share of it.
_DOUBT = 0.08
_DOUBT_KEPT = 0.4
#: The family of evidence of each reason.
_FAMILY_OF = {
    "water_used": "water",
    "electricity_used": "electricity",
    "nights_spent": "access",
}
_INPUTS = presence.INPUTS | {
    "energy_day_kwh",
    "strangers_nights",
    "water_first_use_at",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnletLifeParams:
    """When a flat without a tenancy is lived in."""

    presence: PresenceParams = field(default_factory=PresenceParams)
    least_l: Litres = 20.0
    """Litres a day from which somebody uses water."""
    least_kwh: KilowattHours = 2.0
    """kWh a day from which somebody lives there, where no lived-in day of the home is known."""
    leak_step: Share = 0.12
    """Greatest relative step from the day before of a daily meter that is a leak's."""
    fire: DaysOfEvidence = 7.0
    """Days of life, those without it taken off, until it is sure."""
    drop: DaysOfEvidence = 7.0
    """Days without life until it is over."""
    grace_days: DayCount = 14
    """Days to move out after the end of a tenancy."""
    abstain_days: DayCount = 28
    """Days without data from which an abstention is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnletHomes:
    """The homes that are not let on some day, as a frame of their own; masks and weights of shape
    (homes, days).
    """

    frame: UnitDayFrame
    presence: Presence
    unlet: Mask
    known: Mask
    weight: NDArray[np.float32]


def detect(frame: UnitDayFrame, params: UnletLifeParams, *, ended: bool) -> Judgement:
    """Judge the days without a tenancy; `ended` chooses which of the two detectors' findings are
    returned.
    """
    homes = _read_unlet_homes(frame, params)
    found = []
    continued: set[tuple[int, float]] = set()
    for episode in find_episodes(homes.weight, fire=params.fire, drop=params.drop):
        # One tenancy's end has one story: who stayed on and was away for a holiday is no newcomer.
        tenancy = (episode.row, float(homes.frame.ended[episode.row, episode.start]))
        goes_on = tenancy in continued or _goes_on(homes, params, episode)
        if goes_on:
            continued.add(tenancy)
        if goes_on and ended and _after_grace(homes.frame, params, episode):
            found.append(_finding(homes, episode, start=int(tenancy[1]) + 1, ended=True))
        elif not goes_on and not ended:
            found.append(_finding(homes, episode, start=episode.start, ended=False))
    # Where neither tap, lamp nor night shows it there is nothing to report.
    findings = [finding for finding in found if finding.reasons]
    return Judgement(findings, [] if ended else _abstentions(homes, params))


def _read_unlet_homes(frame: UnitDayFrame, params: UnletLifeParams) -> _UnletHomes:
    """Look at the days without a tenancy, once for both detectors; most homes are let."""
    key = ("unlet", params)
    if key not in frame.derived:
        unlet = ~frame.let & ~frame.declared
        rows = often(unlet, 1)
        few = frame.of(rows)
        days = read_presence(frame, params.presence).of(rows)
        with np.errstate(invalid="ignore"):
            has_lock_data = few.fitted["lock"] & ~np.isnan(few["entries"])
            known = ~np.isnan(days.used_l) | (few["energy_cover"] > 0) | has_lock_data
        weight = np.where(unlet[rows], _weigh_days(few, params, days), np.float32(OUTSIDE))
        frame.derived[key] = _UnletHomes(
            frame=few, presence=days, unlet=unlet[rows], known=known, weight=weight
        )
    homes: _UnletHomes = frame.derived[key]
    return homes


def _weigh_days(
    frame: UnitDayFrame, params: UnletLifeParams, days: Presence
) -> NDArray[np.float32]:
    """Weigh each day: 1 for someone who lives there, less where it may be workmen, -1 for a day
    without anyone.
    """
    hours = frame["water_hours"]
    hours_unknown = np.isnan(hours)
    covered = frame["water_cover"] >= params.presence.min_cover
    watered = ~np.isnan(days.used_l) & covered
    powered, dark = _power_days(frame, params, days)
    with np.errstate(invalid="ignore"):
        long_enough = hours_unknown | (hours >= _LEAST_WATER_HOURS)
        used = days.water_used & (days.used_l >= params.least_l) & long_enough
        midnight = frame.day_starts[:-1]
        early = frame["water_first_use_at"] < (midnight + _EARLY_HOUR * HOUR_MS)
        late = frame["water_last_use_at"] > (midnight + _LATE_HOUR * HOUR_MS)
        slept = (frame["strangers_nights"] > 0) & frame.fitted["lock"]
        in_working_hours = frame["energy_day_kwh"] > _WORKMEN_SHARE * frame["energy_kwh"]
        little_water = days.used_l < params.least_l
    by_hour = np.where(early | late, _LIVED, 0.0)
    weight = np.zeros(used.shape, dtype=np.float32)
    weight[used] = np.where(hours_unknown, _USED_SOMETIME, by_hour)[used]
    weight[~watered & powered & ~in_working_hours] = _POWER_ALONE
    # Read once a day, a leak shows by taking the same every day.
    weight[hours_unknown & machine_like_days(days.used_l, params.leak_step)] = 0.0
    weight[slept] += _NIGHT
    nobody = ~used & ~slept & ((watered & little_water) | (~watered & dark))
    weight[nobody] = _GONE
    return np.minimum(weight, np.float32(_LIVED))


def _power_days(frame: UnitDayFrame, params: UnletLifeParams, days: Presence) -> tuple[Mask, Mask]:
    """Return the days whose electricity shows life, and those on which it shows nobody."""
    covered = frame["energy_cover"] >= params.presence.min_cover
    kwh = np.where(covered, frame["energy_kwh"], np.nan)
    lived_share = params.presence.lived_share
    assumed = params.least_kwh / lived_share
    usual = np.where(np.isnan(days.usual_kwh), assumed, days.usual_kwh)[:, None]
    with np.errstate(invalid="ignore"):
        powered = (kwh > lived_share * usual) & ~days.energy_even
        dark = kwh <= _DARK_SHARE * lived_share * usual
    return powered, dark


def _goes_on(homes: _UnletHomes, params: UnletLifeParams, episode: Episode) -> bool:
    """Tell whether life simply went on when the tenancy ended.

    Either there is hardly a pause, or there are signs of life beyond the time to move out, and no
    more than a holiday from one to the next.
    """
    end = homes.frame.ended[episode.row, episode.start]
    if np.isnan(end):
        return False
    if episode.start - end <= _BACK_DAYS or _former_are_seen(homes.frame, episode):
        return True
    after = max(0, int(end) + 1)
    weight = homes.weight[episode.row, after : episode.start]
    signs = after + np.flatnonzero(weight > 0)
    gaps = np.diff(np.concatenate(([end], signs, [episode.start])))
    outstayed = (signs > end + params.grace_days).any()
    return bool(gaps.max() <= _HOLIDAY_DAYS and outstayed)


def _former_are_seen(frame: UnitDayFrame, episode: Episode) -> bool:
    """Tell whether it is the former residents who come and go, by their own cards: then they never
    left for good.
    """
    span = episode.span(frame.days)
    tokens = frame.tokens.of(episode.row)
    within = (tokens.day >= span.start) & (tokens.day < span.stop)
    days = np.unique(tokens.day[(tokens.person_kind == PersonKind.FORMER) & within])
    return bool(len(days) >= _FORMER_SHARE * (span.stop - span.start))


def _after_grace(frame: UnitDayFrame, params: UnletLifeParams, episode: Episode) -> bool:
    last = frame.days - 1 if episode.last is None else episode.last
    return bool(last - frame.ended[episode.row, episode.start] >= params.grace_days)


def _finding(homes: _UnletHomes, episode: Episode, *, start: int, ended: bool) -> Finding:
    """Return the finding from a column on; the end of a tenancy is known to the day."""
    frame = homes.frame
    row = episode.row
    span = slice(max(0, start), episode.span(frame.days).stop)
    kwh = frame["energy_kwh"][row, span]
    nights = float(np.nansum(frame["strangers_nights"][row, span]))
    reasons = []
    if homes.presence.water_used[row, span].any():
        reasons.append("water_used")
    if not np.isnan(kwh).all() and np.nanmedian(kwh) > _NAMED_KWH:
        reasons.append("electricity_used")
    if frame.fitted["lock"][row, span].any() and nights:
        reasons.append("nights_spent")
    began_between = (max(0, start - 1), start + 1)
    if ended:
        began_between = (max(0, start), max(0, start))
    evidence = Evidence(
        row=row,
        start=start,
        last=episode.last,
        score=1.0 - _DOUBT * _DOUBT_KEPT ** (len(reasons) - 1),
        reasons=tuple(reasons),
        numbers={
            "families": [_FAMILY_OF[reason] for reason in reasons],
            "l_per_day": mean_of(frame["water_l"][row, span], 1),
            "kwh_per_day": mean_of(kwh, 2),
            "nights": int(nights),
        },
        began_between=began_between,
    )
    return finding_over_days(frame, evidence, known=homes.known)


def _abstentions(homes: _UnletHomes, params: UnletLifeParams) -> list[Abstention]:
    units = homes.frame.units
    return [
        Abstention(unit=int(units[row]), first=begin, last=end - 1, reason="no_data")
        for row, begin, end in runs_of(homes.unlet & ~homes.known, params.abstain_days)
    ]


UNAUTHORISED = Detector(
    key="unauthorised",
    version="3",
    family="compliance",
    inputs=_INPUTS,
    params_type=UnletLifeParams,
    reasons=tuple(_FAMILY_OF),
    abstention_reasons=("no_data",),
    legal_basis="赣州市公租房管理 第十一条（违规占用）；公共租赁住房管理办法 第二十七条",
    runbook="docs/runbooks/unauthorised.md",
    detect=partial(detect, ended=False),
)
ENDED = Detector(
    key="tenancy_ended",
    version="3",
    family="compliance",
    inputs=_INPUTS,
    params_type=UnletLifeParams,
    reasons=tuple(_FAMILY_OF),
    legal_basis="赣建字〔2019〕4号 四（三）（到期退出）；公共租赁住房管理办法 第二十九条",
    runbook="docs/runbooks/tenancy_ended.md",
    detect=partial(detect, ended=True),
)
