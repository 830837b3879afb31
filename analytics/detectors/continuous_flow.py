"""Continuous water flow: the tap never rests, day and night, which is how a leak or a running cistern looks.

A home's water stands still some time in every day; when no interval of two days is without flow, something runs. The
rule of the meter makers (no zero-flow interval in 24 hours) is held twice as long here, since a large household can
fill a day. How often a home's water stands still on its other days says how surely it is no chance: where it rests for a share q of
its hours, H hours without a rest come about by themselves with a chance of about exp(-qH). That is asked of large users only: people who draw
water in every hour of two days and nights come to hundreds of litres a day, so where less is used it is no household's doing, and a home with
an old drip hardly ever rests on its other days either. What is lost is at least the smallest flow seen, hour by hour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.contract import Abstention, Detector, Finding, Params
from analytics.frame import UnitDayFrame, runs, runs_of
from domain.calendar import DAY_MS, HOUR_MS

DEFAULTS: Params = {
    "warn_hours": 48,  # time without one still interval
    "large_l": 400.0,  # litres a day from which a household may draw in every hour: three people or more (130 l a day each),
    "surprise": 9.5,  # and then qH from which it is told: such a stretch comes about by itself once in thirteen thousand
    "usual_rest": 0.4,  # share of its hours in which a home's water stands still, where that is not known of the home (40 real homes: median 0.5)
    "min_cover": 0.75,  # share of a day that readings must cover: a leak may hide in a gap, and so may a rest
    "min_cover_partial": 0.7,  # the same of a day that is not over
    "abstain_days": 14,
}
#: Hours of a day that must be known before it tells how long its water rested.
_HOURS = 20


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit of the frame."""
    covered = frame["water_cover"] >= params["min_cover"]
    if frame.partial:
        # The latest reading of a day that is not over is an hour old.
        covered[:, -1] = frame["water_cover"][:, -1] >= params["min_cover_partial"]
    stood = ~np.isnan(frame["water_last_still_at"])
    timed = ~np.isnan(frame["water_least_l_h"])
    flows = covered & ~stood & timed
    findings: list[Finding] = []
    abstentions: list[Abstention] = []
    known = covered & timed
    for u in _without_rest(frame, flows, known, params["warn_hours"] * HOUR_MS):
        _rest_to_rest(frame, params, flows, known, u, findings)
    metered = frame["water_samples"] > 0
    for u, begin, end in runs_of(~known, int(params["abstain_days"])):
        # Before the first reading and after the last there was no meter.
        read = np.flatnonzero(metered[u])
        a, b = (max(begin, int(read[0])), min(end, int(read[-1]) + 1)) if len(read) else (0, 0)
        if b - a < params["abstain_days"]:
            continue
        reason = "too_coarse" if covered[u, a:b].mean() > 0.5 else "thin_coverage"
        abstentions.append(Abstention(unit=int(frame.units[u]), first=a, last=b - 1, reason=reason))
    return findings, abstentions


def _without_rest(
    frame: UnitDayFrame, flows: NDArray[np.bool_], known: NDArray[np.bool_], least_ms: float
) -> list[int]:
    """List the units that went without rest for so long; two days without rest hold a whole one, so whole days are where to look."""
    found = runs_of(flows, 1)
    if not found:
        return []
    u, a, b = np.array(found).T
    before, after = np.maximum(a - 1, 0), np.minimum(b, frame.days - 1)
    since = np.where(
        (a > 0) & known[u, before], frame["water_last_still_at"][u, before], frame.day_starts[a]
    )
    until = np.where(
        (b < frame.days) & known[u, after],
        frame["water_first_still_at"][u, after],
        frame.day_starts[b],
    )
    return [int(unit) for unit in np.unique(u[until - since >= least_ms])]


def _rest_to_rest(
    frame: UnitDayFrame,
    params: Params,
    flows: NDArray[np.bool_],
    known: NDArray[np.bool_],
    u: int,
    findings: list[Finding],
) -> None:
    """Measure from the end of one still interval to the start of the next, over days that are all known.

    The time without rest may be longer than the whole days in it: it begins in the day before and ends in the one
    after, so the instants are what is measured. Where a gap cuts it, it counts up to the gap; with nothing known
    after the gap it is frozen there.
    """
    rest = _usual_rest(frame, params, known[u] & ~flows[u], u)
    last_still, first_still = frame["water_last_still_at"][u], frame["water_first_still_at"][u]
    stretches = runs(known[u])
    for a, b in stretches:
        since, started = float(frame.day_starts[a]), a
        final = (a, b) == stretches[-1]
        for d in range(a, b + 1):
            rests = d < b and not flows[u, d]
            if d < b and not rests:
                continue
            until = float(first_still[d]) if rests else float(frame.day_starts[b])
            if until - since >= params["warn_hours"] * HOUR_MS:
                lasts = not rests and final
                findings.append(
                    _finding(
                        frame,
                        params,
                        u,
                        (started, min(d, b - 1)),
                        (since, until),
                        rest,
                        lasts=lasts,
                        frozen=lasts and b < frame.days - frame.partial,
                    )
                )
            if rests:
                since, started = float(last_still[d]), d


def _usual_rest(frame: UnitDayFrame, params: Params, rested: NDArray[np.bool_], u: int) -> float:
    """Return the share of its hours in which a home's water stands still on days on which it does at all."""
    days = rested & (frame["water_hours_known"][u] >= _HOURS)
    if np.count_nonzero(days) < params["abstain_days"]:
        return params["usual_rest"]
    hours, known = frame["water_hours"][u, days], frame["water_hours_known"][u, days]
    return 1.0 - float(hours.sum() / known.sum())


def _finding(
    frame: UnitDayFrame,
    params: Params,
    u: int,
    days: tuple[int, int],
    period: tuple[float, float],
    rest: float,
    *,
    lasts: bool,
    frozen: bool,
) -> Finding:
    (a, last), (since, until) = days, period
    # The hours in which it began and ended are not all its own; a long run is judged by the days within.
    whole = slice(a + 2, last - 1) if last - a >= 4 else slice(a, last + 1)
    least = (
        float(np.nanmin(frame["water_least_l_h"][u, whole]))
        if not np.isnan(frame["water_least_l_h"][u, whole]).all()
        else 0.0
    )
    hours = (until - since) / HOUR_MS
    evidence = {
        "hours": round(hours),
        "usual_rest": round(rest, 2),
        "least_l_per_h": round(least, 2),
        "lost_l": round(least * hours),
        "from_day": frame.day(a).isoformat(),
        "to_day": frame.day(last).isoformat(),
    }
    score = (
        0.4
        + 0.4 * min(1.0, (until - since - 2 * DAY_MS) / (5 * DAY_MS))
        + 0.15 * min(1.0, least / 10.0)
    )
    inside = (frame.day_starts[:-1] >= since) & (frame.day_starts[1:] <= until)
    litres = frame["water_l"][u, inside]
    if rest * hours < params["surprise"] and len(litres) and np.median(litres) >= params["large_l"]:
        # A busy household's own doing, as far as anybody can tell yet.
        score = 0.2
    return Finding(
        unit=int(frame.units[u]),
        since_ms=int(since),
        until_ms=None if lasts else int(until),
        frozen=frozen,
        score=round(min(score, 0.95), 3),
        reasons=("never_zero_flow",),
        evidence=evidence,
    )


DETECTOR = Detector(
    key="continuous_flow",
    version="3",
    family="hazard",
    inputs=("water_l", "water_hours", "water_first_still_at", "water_last_still_at"),
    defaults=DEFAULTS,
    legal_basis="赣州市公租房管理 第六条（补齐用水节水短板）",
    runbook="docs/runbooks/continuous_flow.md",
    detect=detect,
    hourly=True,
)
