"""Unoccupied tenancy: a flat that is let and in which nobody lives (公共租赁住房管理办法 Art. 27: six months without reason).

Water is the cleaner signal of presence, electricity the second, doors the third. A day speaks *against* absence when
any of them shows someone, *for* it when water stood still (or, without water, when no more electricity flowed than an
empty home draws), and otherwise says nothing. A run of days without a word against is a finding when it is long
enough and enough of its days speak for it; when too many say nothing, it is an abstention. Gaps are never absence.

Where a flat has a lock and no meter, the lock is asked: on days on which it spoke (its battery, if nothing else) nobody came in. That
holds only for people who used to be seen by it, and a lock that is silent says nothing.

Someone who looks in, airs the flat or opens a tap so that it shall look lived in does not end a run: those days are visits
(`analytics.presence`), counted and told. An empty home still draws 0.4 to 1.2 kWh a day (fridge, standby, a boiler kept
warm), so electricity is judged against the home's own lived-in days; between "empty" and "lived in" lies a band in which
nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import Abstention, Detector, Finding, Params, mean_of
from analytics.frame import Mask, UnitDayFrame, rolling, runs_of
from analytics.presence import Presence
from domain.calendar import DAY_MS

DEFAULTS: Params = {
    **presence.DEFAULTS,
    "warn_days": 30,  # the first warning; 90 and 150 days are policy's steps towards the six months
    "warn_visited_days": 45,  # where somebody looks in now and then
    "abstain_days": 14,  # a stretch shorter than this that cannot be judged is not worth a word
    "max_unknown": 0.2,  # share of a run's days that may say nothing at all
    "min_quiet_energy": 0.6,  # share of a run's days that must be quiet where electricity stands alone
    "max_visited": 0.25,  # share of a run's days on which somebody may have looked in
    "trickle_l": 2.0,  # litres of drips that a run may add up to before they count as use
    "usual_entries": 0.4,  # share of a lock's days on which people who live there come in by it, so that it can tell their absence
    "silent_days": 3,  # days without a word at the end after which a finding is frozen
}


#: Share of the nights that are known on which the household's car must have been parked to make a lead doubtful.
_PARKED = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class _Says:
    """What the days say for this question."""

    p: Presence
    dripped: Mask
    visited: Mask
    shut: Mask
    broken: Mask
    known: Mask


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit of the frame."""
    p = presence.read(frame, params)
    with np.errstate(invalid="ignore"):
        slept = frame["residents_nights"] > 0
    # Who came in the evening and drew no water the next morning had not stayed.
    slept[:, :-1] &= ~p.water_quiet[:, 1:]
    locked = _by_lock_alone(frame, params)
    with np.errstate(invalid="ignore"):
        opened = locked & (frame["entries"] > 0)
    shut = locked & ~opened & ~np.isnan(frame["entries"])
    dry = p.water_quiet | p.visited | (p.energy_quiet & ~frame.fitted["water"]) | opened
    came = p.entered & ~slept & dry
    visited = p.visited | presence.seldom(came, came, params)
    apart = p.water_used | p.energy_lived | (p.entered & ~visited) | ~frame.let | frame.declared
    # By a lock alone whoever comes in lives there, unless a resident looked in.
    apart |= opened & ~visited
    dripped = _overflows(frame["water_trickle_l"], apart | p.visited, apart, params["trickle_l"])
    known = (
        p.water_quiet | p.visited | p.energy_quiet | p.energy_between | shut | (locked & visited)
    )
    says = _Says(
        p=p, dripped=dripped, visited=visited, shut=shut, broken=apart | dripped, known=known
    )
    findings: list[Finding] = []
    abstentions: list[Abstention] = []
    for u, a, b in runs_of(~says.broken, int(params["abstain_days"])):
        _judge(frame, params, says, u, a, b, findings, abstentions)
    return findings, abstentions


def _by_lock_alone(frame: UnitDayFrame, params: Params) -> Mask:
    """Tell the days on which a lock is all there is, and a lock by which the household used to come in."""
    alone: Mask = frame.fitted["lock"] & ~frame.fitted["water"] & ~frame.fitted["energy"]
    some = np.flatnonzero(alone.any(axis=1))
    with np.errstate(invalid="ignore"):
        came = frame.let[some] & (frame["entries"][some] > 0) & (frame["residents_seen"][some] > 0)
    heard = frame.let[some] & ~np.isnan(frame["entries"][some])
    # What is usual is the best two months': long absences do not make a household one that was never seen.
    often = rolling(came, 56) / np.maximum(rolling(heard, 56), 28)
    alone[some[often.max(axis=1, initial=0.0) < params["usual_entries"]]] = False
    return alone


def _overflows(trickle: NDArray[Any], none: Mask, broken: Mask, allowance: float) -> Mask:
    """Find the days on which the drips since the last use add up to more than the allowance; on some there are `none`.

    On a day of use the drips before and after it cannot be told apart; they count from the next day on.
    """
    out = np.zeros_like(broken)
    with np.errstate(invalid="ignore"):
        drips = (trickle > 0) & ~none
    for u in np.flatnonzero(drips.any(axis=1)).tolist():
        days = np.flatnonzero(drips[u])
        # Uses so far: where their number is another, the sum begins anew.
        uses = np.cumsum(broken[u])[days]
        total, after = 0.0, -1
        for day, use, amount in zip(
            days.tolist(), uses.tolist(), trickle[u, days].tolist(), strict=True
        ):
            total = amount + (total if use == after else 0.0)
            after = use
            if total > allowance + 1e-3:
                out[u, day], total = True, 0.0
    return out


def _judge(
    frame: UnitDayFrame,
    params: Params,
    says: _Says,
    u: int,
    a: int,
    b: int,
    findings: list[Finding],
    abstentions: list[Abstention],
) -> None:
    """Judge one run of days [a, b) of unit row `u` without a word against absence."""
    unit, at_end = int(frame.units[u]), b == frame.days
    told = np.flatnonzero(says.known[u, a:b])
    if not len(told):
        if frame.let[u, a:b].all():
            fitted = frame.fitted["water"][u, a:b].any() or frame.fitted["energy"][u, a:b].any()
            abstentions.append(
                Abstention(
                    unit=unit, first=a, last=b - 1, reason="no_data" if fitted else "no_meter"
                )
            )
        return
    end = a + int(told[-1]) + 1
    silent = b - end
    frozen = at_end and silent >= params["silent_days"]
    if frozen and silent >= params["abstain_days"]:
        abstentions.append(Abstention(unit=unit, first=end, last=b - 1, reason="no_data"))
    since = _since(frame, says, u, a)
    until = None if at_end else _until(frame, says, u, b)
    long_ms = (until if until is not None else frame.day_starts[end]) - since
    days = end - a
    span = slice(a, end)
    visits = int(says.visited[u, span].sum())
    water = int((says.p.water_quiet[u, span] | says.p.visited[u, span]).sum())
    energy = int(says.p.energy_quiet[u, span].sum())
    shut = (
        int((says.shut[u, span] | (says.visited[u, span] & frame.fitted["lock"][u, span])).sum())
        if says.shut[u, span].any()
        else 0
    )
    unknown = 1.0 - len(told) / days
    seldom = visits <= max(2.0, params["max_visited"] * days)
    by_water = water >= (1.0 - params["max_unknown"]) * days and seldom
    by_energy = energy >= params["min_quiet_energy"] * days and not (
        water and visits > params["max_visited"] * days
    )
    by_lock = shut >= (1.0 - params["max_unknown"]) * days and seldom
    if unknown > params["max_unknown"] or (
        long_ms >= params["warn_days"] * DAY_MS and water and not (by_water or by_energy)
    ):
        reason = "thin_coverage"
    elif by_water or by_energy or by_lock:
        reason = ""
    else:
        reason = "low_but_not_empty" if not water else ""
    if reason and days >= params["abstain_days"]:
        abstentions.append(Abstention(unit=unit, first=a, last=end - 1, reason=reason))
    if reason or long_ms < params["warn_days"] * DAY_MS:
        return
    families = [name for name, holds in (("water", by_water), ("electricity", by_energy)) if holds]
    nights = frame["residents_nights"][u, span]
    if by_lock or not np.isnan(nights).all():
        families.append("access")
    if visits and _longest_ms(frame, says, u, span, since, until) < params["warn_days"] * DAY_MS:
        # Visits make it doubtful: then two families have to agree for longer, or all three.
        if long_ms < params["warn_visited_days"] * DAY_MS and len(families) < 3:
            return
        if len(families) < 2:
            abstentions.append(
                Abstention(unit=unit, first=a, last=end - 1, reason="looked_in_one_family")
            )
            return
    findings.append(_finding(frame, says, u, span, (since, until), families, visits, frozen=frozen))


def _longest_ms(
    frame: UnitDayFrame, says: _Says, u: int, span: slice, since: float, until: float | None
) -> float:
    """Return the longest time within a run in which nobody so much as looked in."""
    visits = span.start + np.flatnonzero(says.visited[u, span])
    first, last = frame["water_first_use_at"][u, visits], frame["water_last_use_at"][u, visits]
    # Someone who came and used no water came at noon, as far as anybody knows.
    noon = (frame.day_starts[visits] + frame.day_starts[visits + 1]) / 2
    ends = np.append(np.where(np.isnan(first), noon, first), until or frame.day_starts[span.stop])
    begins = np.append(since, np.where(np.isnan(last), noon, last))
    return float((ends - begins).max())


def _since(frame: UnitDayFrame, says: _Says, u: int, a: int) -> float:
    """Return the instant since which nobody was there: the end of the last use, else the start of the first day."""
    if a > 0 and says.p.water_used[u, a - 1]:
        return float(frame["water_last_use_at"][u, a - 1])
    if a > 0 and says.dripped[u, a - 1]:
        return _noon(frame, a - 1)
    return float(frame.day_starts[a])


def _until(frame: UnitDayFrame, says: _Says, u: int, b: int) -> float:
    """Return the instant at which someone was there again."""
    if says.p.water_used[u, b]:
        return float(min(frame["water_first_use_at"][u, b], frame.day_starts[b + 1]))
    if says.dripped[u, b]:
        return _noon(frame, b)
    return float(frame.day_starts[b])


def _noon(frame: UnitDayFrame, d: int) -> float:
    """Return the middle of a day: it is not known when in it the last drip too many fell."""
    return float((frame.day_starts[d] + frame.day_starts[d + 1]) / 2)


def _finding(
    frame: UnitDayFrame,
    says: _Says,
    u: int,
    span: slice,
    period: tuple[float, float | None],
    families: list[str],
    visits: int,
    *,
    frozen: bool,
) -> Finding:
    since, until = period
    entries = frame["entries"][u, span]
    entries = entries[~np.isnan(entries)]
    came = int(entries.sum())
    days = int(((until or frame.day_starts[span.stop]) - since) // DAY_MS)
    words = {"water": "no_water_used", "electricity": "electricity_as_empty"}
    reasons = [words[name] for name in families if name in words]
    if len(entries):
        reasons.append("residents_only_looked_in" if came else "no_resident_entered")
    if visits:
        reasons.append("looked_in")
    cars = frame["cars_nights"][u, span]
    cars = cars[~np.isnan(cars)]
    # A car that is parked there by night, week after week, has somebody who drives it.
    parked = int((cars > 0).sum())
    if parked and parked >= _PARKED * len(cars):
        reasons.append("car_parked")
    kwh = frame["energy_kwh"][u, span]
    evidence = {
        "days": days,
        "families": families,
        "visits": visits,
        "days_car_parked": parked if len(cars) else None,
        "water_l": round(float(np.nansum(frame["water_l"][u, span])), 1)
        if "water" in families
        else None,
        "kwh_per_day": mean_of(kwh, 2),
        "entries": came if len(entries) else None,
        "coverage": round(float(np.mean(says.known[u, span])), 3),
        "from_day": frame.day(span.start).isoformat(),
        "to_day": frame.day(span.stop - 1).isoformat(),
    }
    # What is known of such findings: one family alone is right nine times in ten (a lock less: who comes with a key is not seen), each
    # further one halves the doubt; a month may still be a stay in hospital, half a year hardly is; and visits make it doubtful.
    doubt = (
        (0.2 if families == ["access"] else 0.1)
        * 0.5 ** (len(families) - 1)
        * (1.0 if days < 60 else 0.6)
        + 0.3 * visits / max(1, days)
        + (0.3 if "car_parked" in reasons else 0.0)
    )
    return Finding(
        unit=int(frame.units[u]),
        since_ms=int(since),
        until_ms=None if until is None else int(until),
        # It began between the last sign of life and the first day that is quiet as a whole.
        since_between=(int(since - (0 if "water" in families else DAY_MS)), int(since + DAY_MS)),
        frozen=frozen,
        score=round(1.0 - min(doubt, 0.6), 3),
        reasons=tuple(reasons),
        evidence=evidence,
    )


DETECTOR = Detector(
    key="unoccupied",
    version="4",
    family="compliance",
    inputs=("water_l", "energy_kwh", "entries", "cars_nights"),
    defaults=DEFAULTS,
    legal_basis="公共租赁住房管理办法 第二十七条（无正当理由连续6个月以上闲置）",
    runbook="docs/runbooks/unoccupied.md",
    detect=detect,
)
