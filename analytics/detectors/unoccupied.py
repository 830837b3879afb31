"""Unoccupied tenancy: a flat that is let and in which nobody lives (公共租赁住房管理办法 Art. 27: six months without reason).

Water is the cleaner signal of presence, electricity the second, doors the third. A day speaks *against* absence when
any of them shows someone, *for* it when water stood still (or, without water, when no more electricity flowed than an
empty home draws), and otherwise says nothing. A run of days without a word against is a finding when it is long
enough and enough of its days speak for it; when too many say nothing, it is an abstention. Gaps are never absence.

An empty home still draws 0.4 to 1.2 kWh a day (fridge, standby, a boiler kept warm), so electricity is judged against
the home's own lived-in days; between "empty" and "lived in" lies a band in which nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.contract import Abstention, Detector, Finding, Params
from analytics.frame import DAY_MS, Frame, runs

DEFAULTS: Params = {
    "warn_days": 30,  # the first warning; 90 and 150 days are policy's steps towards the six months
    "abstain_days": 14,  # a stretch shorter than this that cannot be judged is not worth a word
    "min_cover": 0.75,  # share of a day that readings must cover before it says "quiet"
    "max_unknown": 0.2,  # share of a run's days that may say nothing at all
    "min_quiet_energy": 0.6,  # share of a run's days that must be quiet where electricity stands alone
    "trickle_l": 2.0,  # litres of drips that a run may add up to before they count as use
    "quiet_share": 0.2,  # of a lived-in day: up to here a day's electricity is an empty home's
    "quiet_cap_kwh": 4.0,  # and never more than this
    "lived_share": 0.4,  # of a lived-in day: from here on someone lives there
    "lived_days": 30,  # lived-in days that must be known before electricity can judge
    "dead_kwh": 0.1,  # the main switch is off: quiet for any home
    "silent_days": 3,  # days without a word at the end after which a finding is frozen
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Classes:
    """What each (unit, day) says, per family of evidence."""

    water_used: NDArray[np.bool_]
    water_quiet: NDArray[np.bool_]
    energy_lived: NDArray[np.bool_]
    energy_quiet: NDArray[np.bool_]
    energy_between: NDArray[np.bool_]
    entered: NDArray[np.bool_]
    dripped: NDArray[np.bool_]


def detect(frame: Frame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit of the frame."""
    says = _classify(frame, params)
    findings: list[Finding] = []
    abstentions: list[Abstention] = []
    broken = says.water_used | says.energy_lived | says.entered | says.dripped | ~frame.let | frame.declared
    known = says.water_quiet | says.energy_quiet | says.energy_between
    for u in range(len(frame.units)):
        for a, b in runs(~broken[u]):
            _judge(frame, params, says, known, u, a, b, findings, abstentions)
    return findings, abstentions


def _classify(frame: Frame, params: Params) -> _Classes:
    covered = frame["water_cover"] >= params["min_cover"]
    used = ~np.isnan(frame["water_last_use_at"])
    kwh = np.where(frame["energy_cover"] >= params["min_cover"], frame["energy_kwh"], np.nan)
    lived_in = _lived_in_kwh(kwh, params)[:, None]
    with np.errstate(invalid="ignore"):
        quiet_below = np.minimum(params["quiet_share"] * lived_in, params["quiet_cap_kwh"])
        quiet = (kwh <= quiet_below) | (kwh <= params["dead_kwh"])
        lived = kwh > params["lived_share"] * lived_in
        entered = (frame["entries"] > 0) & (frame["residents_seen"] > 0)
    lives = lived & ~quiet
    apart = used | lives | entered | ~frame.let | frame.declared
    return _Classes(
        water_used=used,
        water_quiet=covered & ~used,
        energy_lived=lives,
        energy_quiet=quiet,
        energy_between=~np.isnan(kwh) & ~np.isnan(lived_in) & ~quiet & ~lived,
        entered=entered,
        dripped=_overflows(frame["water_trickle_l"], apart, params["trickle_l"]),
    )


def _lived_in_kwh(kwh: NDArray[np.float64], params: Params) -> NDArray[np.float64]:
    """Return each unit's usual lived-in day: the median of its days above a quarter of its 90th percentile.

    Long absences pull the plain median down; the days in which someone lived there do not move with them.
    """
    out = np.full(len(kwh), np.nan)
    for u, row in enumerate(kwh):
        days = row[~np.isnan(row)]
        if not len(days):
            continue
        lived = days[days >= 0.25 * np.quantile(days, 0.9)]
        if len(lived) >= params["lived_days"] and np.median(lived) > 4 * params["dead_kwh"]:
            out[u] = np.median(lived)
    return out


def _overflows(trickle: NDArray[np.float64], broken: NDArray[np.bool_], allowance: float) -> NDArray[np.bool_]:
    """Find the days on which the drips since the last use add up to more than the allowance."""
    out = np.zeros_like(broken)
    total = np.zeros(len(trickle))
    drips = np.nan_to_num(trickle)
    for d in range(trickle.shape[1]):
        # On a day of use the drips before and after it cannot be told apart; they count from the next day on.
        total = np.where(broken[:, d], 0.0, total + drips[:, d])
        out[:, d] = total > allowance + 1e-3
        total[out[:, d]] = 0.0
    return out


def _judge(
    frame: Frame,
    params: Params,
    says: _Classes,
    known: NDArray[np.bool_],
    u: int,
    a: int,
    b: int,
    findings: list[Finding],
    abstentions: list[Abstention],
) -> None:
    """Judge one run of days [a, b) of unit row `u` without a word against absence."""
    unit = int(frame.units[u])
    told = np.flatnonzero(known[u, a:b])
    at_end = b == frame.days
    if not len(told):
        if b - a >= params["abstain_days"] and frame.let[u, a:b].all():
            abstentions.append(Abstention(unit=unit, first=a, last=b - 1, reason="no_data"))
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
    water, energy = int(says.water_quiet[u, a:end].sum()), int(says.energy_quiet[u, a:end].sum())
    unknown = 1.0 - len(told) / days
    if long_ms < params["warn_days"] * DAY_MS:
        if days >= params["abstain_days"] and unknown > params["max_unknown"]:
            abstentions.append(Abstention(unit=unit, first=a, last=end - 1, reason="thin_coverage"))
        elif days >= params["abstain_days"] and not water and energy < params["min_quiet_energy"] * days:
            abstentions.append(Abstention(unit=unit, first=a, last=end - 1, reason="low_but_not_empty"))
        return
    by_water = water >= (1.0 - params["max_unknown"]) * days
    by_energy = energy >= params["min_quiet_energy"] * days
    if unknown > params["max_unknown"] or (water and not by_water and not by_energy):
        abstentions.append(Abstention(unit=unit, first=a, last=end - 1, reason="thin_coverage"))
        return
    if not by_water and not by_energy:
        abstentions.append(Abstention(unit=unit, first=a, last=end - 1, reason="low_but_not_empty"))
        return
    findings.append(_finding(frame, says, u, a, end, since, until, frozen, by_water=by_water, by_energy=by_energy))


def _since(frame: Frame, says: _Classes, u: int, a: int) -> float:
    """Return the instant since which nobody was there: the end of the last use, else the start of the first day."""
    if a > 0 and says.water_used[u, a - 1]:
        return float(frame["water_last_use_at"][u, a - 1])
    if a > 0 and says.dripped[u, a - 1]:
        return _noon(frame, a - 1)
    return float(frame.day_starts[a])


def _until(frame: Frame, says: _Classes, u: int, b: int) -> float:
    """Return the instant at which someone was there again."""
    if says.water_used[u, b]:
        return float(min(frame["water_first_use_at"][u, b], frame.day_starts[b + 1]))
    if says.dripped[u, b]:
        return _noon(frame, b)
    return float(frame.day_starts[b])


def _noon(frame: Frame, d: int) -> float:
    """Return the middle of a day: it is not known when in it the last drip too many fell."""
    return float((frame.day_starts[d] + frame.day_starts[d + 1]) / 2)


def _finding(
    frame: Frame,
    says: _Classes,
    u: int,
    a: int,
    end: int,
    since: float,
    until: float | None,
    frozen: bool,
    *,
    by_water: bool,
    by_energy: bool,
) -> Finding:
    span = slice(a, end)
    entries = frame["entries"][u, span]
    doors_known = int((~np.isnan(entries)).sum())
    families = [
        name for name, holds in (("water", by_water), ("electricity", by_energy), ("access", doors_known > 0)) if holds
    ]
    days = int(((until or frame.day_starts[end]) - since) // DAY_MS)
    reasons = tuple(
        name for name, holds in (
            ("no_water_used", by_water), ("electricity_as_empty", by_energy), ("no_resident_entered", doors_known > 0))
        if holds
    )  # fmt: skip
    kwh = frame["energy_kwh"][u, span]
    evidence = {
        "days": days,
        "families": families,
        "water_l": round(float(np.nansum(frame["water_l"][u, span])), 1) if by_water else None,
        "kwh_per_day": round(float(np.nanmean(kwh)), 2) if not np.isnan(kwh).all() else None,
        "entries": int(np.nansum(entries)) if doors_known else None,
        "coverage": round(float(np.mean((says.water_quiet | says.energy_quiet | says.energy_between)[u, span])), 3),
        "from_day": frame.day(a).isoformat(),
        "to_day": frame.day(end - 1).isoformat(),
    }
    # Not calibrated until visits have come in: it ranks by length and by how many families agree.
    score = 0.35 + 0.3 * min(1.0, (days - 30) / 120) + 0.12 * (len(families) - 1)
    return Finding(
        unit=int(frame.units[u]),
        since_ms=int(since),
        until_ms=None if until is None else int(until),
        frozen=frozen,
        score=round(min(score, 0.95), 3),
        reasons=reasons,
        evidence=evidence,
    )


DETECTOR = Detector(
    key="unoccupied",
    version="1",
    inputs=("water_l", "energy_kwh", "entries"),
    defaults=DEFAULTS,
    legal_basis="公共租赁住房管理办法 第二十七条（无正当理由连续6个月以上闲置）",
    runbook="docs/runbooks/unoccupied.md",
    detect=detect,
)
