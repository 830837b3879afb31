"""Continuous water flow: the tap never rests, day and night, which is how a leak or a running
cistern looks.

A home's water stands still some time in every day; when no interval of two days is without flow,
something runs. The rule of the meter makers (no zero-flow interval in 24 hours) is kept twice as
long here, since a large household can fill a day. How often a home's water stands still on its
other days says how surely it is no chance: where it rests for a share q of its hours, H hours
without a rest come about by themselves with a chance of about exp(-qH). That counts for large users
only: people who draw water in every hour of two days and nights come to hundreds of litres a day.
Where less is used it is no household's doing, and a home with an old drip hardly ever rests on its
other days either. What is lost is at least the smallest flow seen, hour by hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.detectors.contract import Abstention, Detector, Finding, Judgement
from analytics.frame import Mask, UnitDayFrame, runs, runs_of
from analytics.parameters import DayCount, HourCount, Litres, Multiple, Share
from domain.calendar import DAY_MS, HOUR_MS

#: Hours of a day that must be known before it tells how long its water rested.
_KNOWN_HOURS = 20
#: Score: a start, a part that grows over five days from the second on, and a part that grows up to
#: ten litres an hour.
_SCORE = 0.4
_SCORE_OF_TIME = 0.4
_SCORE_OF_FLOW = 0.15
_SURE_AFTER_MS = 5 * DAY_MS
_SURE_FLOW_L_H = 10.0
#: Score of what a busy household may have done itself, and the greatest score.
_DOUBTFUL_SCORE = 0.2
_GREATEST_SCORE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousFlowParams:
    """From when on water that never rests is a leak."""

    warn_hours: HourCount = 48
    """Hours without one still interval."""
    large_l: Litres = 400.0
    """Litres a day from which a household may draw in every hour: three people or more (130 l a day
    each).
    """
    surprise: Multiple = 9.5
    """Least qH for a large user: such a stretch comes about by itself once in thirteen thousand."""
    usual_rest: Share = 0.4
    """Share of its hours in which water stands still, where the home's own is not known (40 real
    homes: median 0.5).
    """
    min_cover: Share = 0.75
    """Share of a day that readings must cover: a leak may hide in a gap, and so may a rest."""
    min_cover_partial: Share = 0.7
    """The same of a day that is not over: its latest reading is an hour old."""
    abstain_days: DayCount = 14
    """Days that cannot be judged from which an abstention is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FlowDays:
    """What the water meter shows, as masks of shape (units, days).

    `covered`: readings cover the day; `known`: by the hour, too; `flows`: known and without one
    still interval.
    """

    covered: Mask
    known: Mask
    flows: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """A time without rest at one unit: days as columns, both ends included; instants in ms UTC."""

    row: int
    first_day: int
    last_day: int
    since: float
    until: float
    lasts: bool
    frozen: bool

    @property
    def hours(self) -> float:
        return (self.until - self.since) / HOUR_MS


def detect(frame: UnitDayFrame, params: ContinuousFlowParams) -> Judgement:
    """Judge every unit of the frame."""
    days = _read_days(frame, params)
    least_ms = params.warn_hours * HOUR_MS
    findings = []
    for row in _rows_without_rest(frame, days, least_ms):
        rest = _usual_rest(frame, params, days, row)
        for flow in _flows_between_rests(frame, days, row, least_ms):
            findings.append(_finding(frame, params, flow, rest))
    return Judgement(findings, _abstentions(frame, params, days))


def _read_days(frame: UnitDayFrame, params: ContinuousFlowParams) -> _FlowDays:
    covered = frame["water_cover"] >= params.min_cover
    if frame.partial:
        covered[:, -1] = frame["water_cover"][:, -1] >= params.min_cover_partial
    stood = ~np.isnan(frame["water_last_still_at"])
    known = covered & ~np.isnan(frame["water_least_l_h"])
    return _FlowDays(covered=covered, known=known, flows=known & ~stood)


def _rows_without_rest(frame: UnitDayFrame, days: _FlowDays, least_ms: float) -> list[int]:
    """List the units that went without rest for so long.

    Two days without rest hold a whole one, so only stretches of whole days are looked at.
    """
    stretches = runs_of(days.flows, 1)
    if not stretches:
        return []
    row, begin, end = np.array(stretches).T
    before = np.maximum(begin - 1, 0)
    after = np.minimum(end, frame.days - 1)
    since = np.where(
        (begin > 0) & days.known[row, before],
        frame["water_last_still_at"][row, before],
        frame.day_starts[begin],
    )
    until = np.where(
        (end < frame.days) & days.known[row, after],
        frame["water_first_still_at"][row, after],
        frame.day_starts[end],
    )
    return [int(found) for found in np.unique(row[until - since >= least_ms])]


def _flows_between_rests(
    frame: UnitDayFrame, days: _FlowDays, row: int, least_ms: float
) -> Iterator[_Flow]:
    """Measure from the end of one still interval to the start of the next, over days that are all
    known.

    The time without rest may be longer than the whole days in it: it begins in the day before and
    ends in the one after, so the instants are what is measured. Where a gap cuts it, it counts up
    to the gap; with nothing known after the gap it is frozen there.
    """
    stretches = runs(days.known[row])
    for begin, end in stretches:
        resting = begin + np.flatnonzero(~days.flows[row, begin:end])
        since = np.append(frame.day_starts[begin], frame["water_last_still_at"][row, resting])
        until = np.append(frame["water_first_still_at"][row, resting], frame.day_starts[end])
        first_days = np.append(begin, resting)
        last_days = np.append(resting, end - 1)
        is_last = (begin, end) == stretches[-1]
        for i in np.flatnonzero(until - since >= least_ms).tolist():
            lasts = is_last and i == len(resting)
            yield _Flow(
                row=row,
                first_day=int(first_days[i]),
                last_day=int(last_days[i]),
                since=float(since[i]),
                until=float(until[i]),
                lasts=lasts,
                frozen=lasts and end < frame.days - frame.partial,
            )


def _usual_rest(
    frame: UnitDayFrame, params: ContinuousFlowParams, days: _FlowDays, row: int
) -> float:
    """Return the share of its hours in which a home's water stands still on days on which it does
    at all.
    """
    rested = days.known[row] & ~days.flows[row]
    counted = rested & (frame["water_hours_known"][row] >= _KNOWN_HOURS)
    if np.count_nonzero(counted) < params.abstain_days:
        return params.usual_rest
    hours = frame["water_hours"][row, counted]
    known = frame["water_hours_known"][row, counted]
    return 1.0 - float(hours.sum() / known.sum())


def _finding(
    frame: UnitDayFrame, params: ContinuousFlowParams, flow: _Flow, rest: float
) -> Finding:
    least = _least_flow(frame, flow)
    return Finding(
        unit=int(frame.units[flow.row]),
        since_ms=int(flow.since),
        until_ms=None if flow.lasts else int(flow.until),
        frozen=flow.frozen,
        score=round(min(_score(frame, params, flow, rest, least), _GREATEST_SCORE), 3),
        reasons=("never_zero_flow",),
        evidence={
            "hours": round(flow.hours),
            "usual_rest": round(rest, 2),
            "least_l_per_h": round(least, 2),
            "lost_l": round(least * flow.hours),
            "from_day": frame.day(flow.first_day).isoformat(),
            "to_day": frame.day(flow.last_day).isoformat(),
        },
    )


def _least_flow(frame: UnitDayFrame, flow: _Flow) -> float:
    """Return the smallest flow seen in litres an hour, 0 where none is known.

    The hours in which it began and ended are not all its own; a long run is judged by the days
    within.
    """
    within = slice(flow.first_day, flow.last_day + 1)
    if flow.last_day - flow.first_day >= 4:
        within = slice(flow.first_day + 2, flow.last_day - 1)
    least: NDArray[np.float32] = frame["water_least_l_h"][flow.row, within]
    if np.isnan(least).all():
        return 0.0
    return float(np.nanmin(least))


def _score(
    frame: UnitDayFrame,
    params: ContinuousFlowParams,
    flow: _Flow,
    rest: float,
    least: float,
) -> float:
    inside = (frame.day_starts[:-1] >= flow.since) & (frame.day_starts[1:] <= flow.until)
    litres = frame["water_l"][flow.row, inside]
    large_user = bool(len(litres)) and np.median(litres) >= params.large_l
    if large_user and rest * flow.hours < params.surprise:
        return _DOUBTFUL_SCORE
    time = min(1.0, (flow.until - flow.since - 2 * DAY_MS) / _SURE_AFTER_MS)
    strength = min(1.0, least / _SURE_FLOW_L_H)
    return _SCORE + _SCORE_OF_TIME * time + _SCORE_OF_FLOW * strength


def _abstentions(
    frame: UnitDayFrame, params: ContinuousFlowParams, days: _FlowDays
) -> list[Abstention]:
    metered = frame["water_samples"] > 0
    found = []
    for row, begin, end in runs_of(~days.known, params.abstain_days):
        read_days = np.flatnonzero(metered[row])
        if not len(read_days):
            continue
        # Before the first reading and after the last there was no meter.
        first = max(begin, int(read_days[0]))
        stop = min(end, int(read_days[-1]) + 1)
        if stop - first < params.abstain_days:
            continue
        mostly_covered = days.covered[row, first:stop].mean() > 0.5
        reason = "too_coarse" if mostly_covered else "thin_coverage"
        unit = int(frame.units[row])
        found.append(Abstention(unit=unit, first=first, last=stop - 1, reason=reason))
    return found


DETECTOR = Detector(
    key="continuous_flow",
    version="3",
    family="hazard",
    inputs=frozenset(
        {
            "water_cover",
            "water_first_still_at",
            "water_hours",
            "water_hours_known",
            "water_l",
            "water_last_still_at",
            "water_least_l_h",
            "water_samples",
        }
    ),
    params_type=ContinuousFlowParams,
    reasons=("never_zero_flow",),
    abstention_reasons=("too_coarse", "thin_coverage"),
    legal_basis="赣州市公租房管理 第六条（补齐用水节水短板）",
    runbook="docs/runbooks/continuous_flow.md",
    detect=detect,
    hourly=True,
)
