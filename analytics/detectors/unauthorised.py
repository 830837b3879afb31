"""Life in a flat that nobody rents: unauthorised occupation, and a tenancy that ended and is still used (占用, 到期不退).

Both are the same observation, evidence of life added up day by day (`analytics.episodes`) over the days without a tenancy;
they differ in how it began. What goes on from a tenancy that ended is `tenancy_ended`; what begins in an empty flat is
`unauthorised`. Workmen are not tenants: water by day alone counts for little. A leak is not life.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, mean_of, over_days
from analytics.episodes import OUTSIDE, Episode, episodes
from analytics.frame import Mask, UnitDayFrame, often, runs_of
from analytics.presence import Presence
from domain.calendar import HOUR_MS
from domain.people import PersonKind

DEFAULTS: Params = {
    **presence.DEFAULTS,
    "least_l": 20.0,  # litres a day from which somebody uses water
    "least_kwh": 2.0,  # kWh a day from which somebody lives there, where no lived-in day of the home is known
    "leak_step": 0.12,  # days of a daily meter that differ no more than this from the one before are a leak's
    "fire": 7.0,  # days of life, those without it taken off, until it is sure
    "drop": 7.0,  # days without life until it is over
    "grace_days": 14,  # to move out after the end of a tenancy
    "abstain_days": 28,
}
#: Who is back within so many days of the end of the tenancy had only been away; and who was still there when it was time to be gone may
#: be away for a longer holiday.
_BACK_DAYS, _HOLIDAY_DAYS = 21, 35
#: Share of an episode's days on which former residents are seen, from which it is theirs.
_FORMER = 0.2


def _evidence(frame: UnitDayFrame, params: Params, p: Presence) -> NDArray[np.float32]:
    """Weigh each day: 1 for a day of someone who lives there, less where it may be workmen, -1 for a day without anyone."""
    hours = frame["water_hours"]
    with np.errstate(invalid="ignore"):
        used = p.water_used & (p.used_l >= params["least_l"]) & (np.isnan(hours) | (hours >= 2))
        early = frame["water_first_use_at"] < (frame.day_starts[:-1] + 7.5 * HOUR_MS)
        late = frame["water_last_use_at"] > (frame.day_starts[:-1] + 20 * HOUR_MS)
        kwh = np.where(frame["energy_cover"] >= params["min_cover"], frame["energy_kwh"], np.nan)
        usual = np.where(
            np.isnan(p.usual_kwh), params["least_kwh"] / params["lived_share"], p.usual_kwh
        )[:, None]
        powered = (kwh > params["lived_share"] * usual) & ~p.energy_even
        dark = kwh <= 0.5 * params["lived_share"] * usual
        slept = (frame["strangers_nights"] > 0) & frame.fitted["lock"]
    watered = ~np.isnan(p.used_l) & (frame["water_cover"] >= params["min_cover"])
    weight = np.zeros(used.shape, dtype=np.float32)
    weight[used] = np.where(np.isnan(hours), 0.2, np.where(early | late, 1.0, 0.0))[used]
    with np.errstate(invalid="ignore"):
        by_day = frame["energy_day_kwh"] > 0.6 * frame["energy_kwh"]
    only_power = ~watered & powered & ~by_day
    weight[only_power] = 0.7
    # Read once a day, a leak shows by taking the same every day.
    weight[np.isnan(hours) & presence.as_even_as_a_machine(p.used_l, params["leak_step"])] = 0.0
    weight[slept] += 0.7
    gone = ~used & ~slept & ((watered & (p.used_l < params["least_l"])) | (~watered & dark))
    weight[gone] = -1.0
    return np.minimum(weight, np.float32(1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unlet:
    """The homes that are not let on some day, as a frame of their own, and what is known of those days."""

    frame: UnitDayFrame
    p: Presence
    unlet: Mask
    known: Mask
    weight: NDArray[np.float32]


def _unlet(frame: UnitDayFrame, params: Params) -> _Unlet:
    """Look at the days without a tenancy, once for both detectors; most homes are let."""
    key = ("unlet", *sorted(params.items()))
    if key not in frame.derived:
        unlet = ~frame.let & ~frame.declared
        some = often(unlet, 1)
        few, unlet = frame.of(some), unlet[some]
        p = presence.read(frame, params).of(some)
        with np.errstate(invalid="ignore"):
            known = (
                ~np.isnan(p.used_l)
                | (few["energy_cover"] > 0)
                | (few.fitted["lock"] & ~np.isnan(few["entries"]))
            )
        weight = np.where(unlet, _evidence(few, params, p), np.float32(OUTSIDE))
        frame.derived[key] = _Unlet(frame=few, p=p, unlet=unlet, known=known, weight=weight)
    found: _Unlet = frame.derived[key]
    return found


def detect(
    frame: UnitDayFrame, params: Params, *, ended: bool
) -> tuple[list[Finding], list[Abstention]]:
    """Judge the days without a tenancy; `ended` chooses which of the two is reported."""
    homes = _unlet(frame, params)
    frame, p, known, weight = homes.frame, homes.p, homes.known, homes.weight
    found, stayed = [], set[tuple[int, float]]()
    for episode in episodes(weight, fire=params["fire"], drop=params["drop"]):
        # One tenancy's end has one story: who stayed on and was away for a holiday is no newcomer.
        end = (episode.unit, float(frame.ended[episode.unit, episode.start]))
        if _goes_on(frame, params, weight, episode) or end in stayed:
            stayed.add(end)
            if ended and _after_grace(frame, params, episode):
                found.append(_finding(frame, p, known, episode, ended=True))
        elif not ended:
            found.append(_finding(frame, p, known, episode, ended=False))
    abstained = [
        Abstention(unit=int(frame.units[u]), first=a, last=b - 1, reason="no_data")
        for u, a, b in runs_of(homes.unlet & ~known, int(params["abstain_days"]))
        if not ended
    ]
    # Where neither tap, lamp nor night says so there is nothing to tell anybody.
    return [finding for finding in found if finding.reasons], abstained


def _goes_on(
    frame: UnitDayFrame, params: Params, weight: NDArray[np.float32], episode: Episode
) -> bool:
    """Tell whether life simply went on when the tenancy ended: hardly a pause, or signs of it beyond the time to move out, and from one
    to the next no more than a holiday.
    """
    end = frame.ended[episode.unit, episode.start]
    if np.isnan(end):
        return False
    if episode.start - end <= _BACK_DAYS or _former_are_seen(frame, episode):
        return True
    after = max(0, int(end) + 1)
    signs = after + np.flatnonzero(weight[episode.unit, after : episode.start] > 0)
    gaps = np.diff(np.concatenate(([end], signs, [episode.start])))
    return bool(gaps.max() <= _HOLIDAY_DAYS and (signs > end + params["grace_days"]).any())


def _former_are_seen(frame: UnitDayFrame, episode: Episode) -> bool:
    """Tell whether it is the former residents who come and go, by their own cards: then they never left for good."""
    span, t = episode.span(frame.days), frame.tokens.of(episode.unit)
    days = t.day[(t.who == PersonKind.FORMER) & (t.day >= span.start) & (t.day < span.stop)]
    return bool(len(np.unique(days)) >= _FORMER * (span.stop - span.start))


def _after_grace(frame: UnitDayFrame, params: Params, episode: Episode) -> bool:
    last = frame.days - 1 if episode.last is None else episode.last
    return bool(last - frame.ended[episode.unit, episode.start] >= params["grace_days"])


def _finding(
    frame: UnitDayFrame, p: Presence, known: Mask, episode: Episode, *, ended: bool
) -> Finding:
    u = episode.unit
    start = int(frame.ended[u, episode.start]) + 1 if ended else episode.start
    last = episode.last
    span = slice(max(0, start), (frame.days if last is None else last + 1))
    reasons = []
    if p.water_used[u, span].any():
        reasons.append("water_used")
    kwh = frame["energy_kwh"][u, span]
    if not np.isnan(kwh).all() and np.nanmedian(kwh) > 1.5:
        reasons.append("electricity_used")
    nights = float(np.nansum(frame["strangers_nights"][u, span]))
    if frame.fitted["lock"][u, span].any() and nights:
        reasons.append("nights_spent")
    families = {"water_used": "water", "electricity_used": "electricity", "nights_spent": "access"}
    litres = frame["water_l"][u, span]
    return over_days(
        frame,
        u,
        start,
        last,
        score=1.0 - 0.08 * 0.4 ** (len(reasons) - 1),
        reasons=tuple(reasons),
        evidence={
            "families": [families[r] for r in reasons],
            "l_per_day": mean_of(litres, 1),
            "kwh_per_day": mean_of(kwh, 2),
            "nights": int(nights),
        },
        known=known,
        between=(
            max(0, start) if ended else max(0, episode.start - 1),
            max(0, start) if ended else episode.start + 1,
        ),
    )


UNAUTHORISED = Detector(
    key="unauthorised",
    version="3",
    family="compliance",
    inputs=("water_l", "energy_kwh", "strangers_nights"),
    defaults=DEFAULTS,
    legal_basis="赣州市公租房管理 第十一条（违规占用）；公共租赁住房管理办法 第二十七条",
    runbook="docs/runbooks/unauthorised.md",
    detect=partial(detect, ended=False),
)
ENDED = Detector(
    key="tenancy_ended",
    version="3",
    family="compliance",
    inputs=("water_l", "energy_kwh", "strangers_nights"),
    defaults=DEFAULTS,
    legal_basis="赣建字〔2019〕4号 四（三）（到期退出）；公共租赁住房管理办法 第二十九条",
    runbook="docs/runbooks/tenancy_ended.md",
    detect=partial(detect, ended=True),
)
