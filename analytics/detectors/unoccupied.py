"""Unoccupied tenancy: a let flat in which nobody lives (公共租赁住房管理办法 Art. 27: six months).

Water is the cleaner signal of presence, electricity the second, doors the third. A day speaks
*against* absence when any of them shows someone, *for* it when water stood still (or, without
water, when no more electricity flowed than an empty home draws), and otherwise says nothing. A run
of days without a sign against absence is a finding when it is long enough and enough of its days
speak for it; when too many say nothing, it is an abstention. Gaps are never absence.

Where a flat has a lock and no meter, the lock counts: on days on which it sent anything (its
battery, if nothing else) nobody came in. It says so only of people whom it used to see.

Someone who looks in, airs the flat or opens a tap so that it shall look lived in does not end a
run: those days are visits (`analytics.presence`), counted and reported. An empty home still draws
0.4 to 1.2 kWh a day (fridge, standby, a boiler kept warm), so electricity is judged against the
home's own lived-in days; between "empty" and "lived in" lies a band in which nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import presence
from analytics.detectors.contract import (
    SILENT_DAYS,
    Abstention,
    Detector,
    Finding,
    Judgement,
    mean_of,
)
from analytics.frame import Mask, UnitDayFrame, rolling, runs_of
from analytics.parameters import DayCount, Litres, Share
from analytics.presence import Presence, PresenceParams, keep_rare_days, read_presence
from domain.calendar import DAY_MS

#: Share of the known nights with the household's car parked from which a finding is doubtful.
_PARKED_SHARE = 0.25
#: Visits that a run may always have, however short it is.
_ALWAYS_ALLOWED_VISITS = 2.0
#: A lock can show absence only if its best two months show use; so many days of them must be known.
_TWO_MONTHS = 56
_LEAST_LOCK_DAYS = 28
#: Rounding of litres in facts.
_ROUNDING_L = 1e-3
#: One family alone is right nine times in ten, a lock less often: who comes with a key is not seen.
_DOUBT = 0.1
_DOUBT_OF_LOCK = 0.2
#: Each further family halves the doubt. A stay in hospital seldom lasts two months.
_FURTHER_FAMILY = 0.5
_LONG_DAYS = 60
_LONG_RUN = 0.6
#: Doubt by visits on every day, by a parked car, and the greatest doubt.
_DOUBT_OF_VISITS = 0.3
_DOUBT_OF_CAR = 0.3
_GREATEST_DOUBT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class UnoccupiedParams:
    """When a run of quiet days is an absence, and when it cannot be judged."""

    presence: PresenceParams = field(default_factory=PresenceParams)
    warn_days: DayCount = 30
    """Days of absence until the first warning; policy's further steps are 90 and 150 days."""
    warn_visited_days: DayCount = 45
    """The same where somebody looks in now and then, unless all three families agree."""
    abstain_days: DayCount = 14
    """Days of a stretch that cannot be judged from which an abstention is stored."""
    max_unknown: Share = 0.2
    """Share of a run's days that may say nothing at all."""
    min_quiet_energy: Share = 0.6
    """Share of a run's days that must be quiet where electricity stands alone."""
    max_visited: Share = 0.25
    """Share of a run's days on which somebody may have looked in."""
    trickle_l: Litres = 2.0
    """Litres of drips that a run may add up to before they count as use."""
    usual_entries: Share = 0.4
    """Share of a lock's days with entries from which it can show that nobody is there."""
    silent_days: DayCount = SILENT_DAYS
    """Days without data at the end after which a finding is frozen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    """What the days say for this detector, as masks of shape (units, days).

    `broken` days speak against absence. On `shut` days the lock alone shows that nobody came in.
    """

    presence: Presence
    dripped: Mask
    visited: Mask
    shut: Mask
    broken: Mask
    known: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class _QuietRun:
    """A run of days without a sign against absence; columns [start, end) up to the last known day.

    `since` and `until` (None while it lasts) are ms UTC. `visits`, `water_days`, `energy_days` and
    `lock_days` count the days with a visit and those on which a family shows absence.
    """

    row: int
    start: int
    end: int
    since: float
    until: float | None
    length_ms: float
    frozen: bool
    known_days: int
    visits: int
    water_days: int
    energy_days: int
    lock_days: int

    @property
    def days(self) -> int:
        return self.end - self.start

    @property
    def span(self) -> slice:
        return slice(self.start, self.end)

    def abstain(self, frame: UnitDayFrame, reason: str) -> Abstention:
        unit = int(frame.units[self.row])
        return Abstention(unit=unit, first=self.start, last=self.end - 1, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Support:
    """Which families show absence on enough of a run's days."""

    water: bool
    electricity: bool
    lock: bool


def detect(frame: UnitDayFrame, params: UnoccupiedParams) -> Judgement:
    """Judge every unit of the frame."""
    signs = _read_signs(frame, params)
    judgement = Judgement([], [])
    for row, begin, stop in runs_of(~signs.broken, params.abstain_days):
        found = _judge_run(frame, params, signs, (row, begin, stop))
        judgement.findings.extend(found.findings)
        judgement.abstentions.extend(found.abstentions)
    return judgement


# Signs of a day ---------------------------------------------------------------------------


def _read_signs(frame: UnitDayFrame, params: UnoccupiedParams) -> _Signs:
    days = read_presence(frame, params.presence)
    locked = _days_by_lock_alone(frame, params)
    with np.errstate(invalid="ignore"):
        slept = frame["residents_nights"] > 0
        opened = locked & (frame["entries"] > 0)
    # Who came in the evening and drew no water the next morning had not stayed.
    slept[:, :-1] &= ~days.water_quiet[:, 1:]
    shut = locked & ~opened & ~np.isnan(frame["entries"])
    dry = days.water_quiet | days.visited | (days.energy_quiet & ~frame.fitted["water"]) | opened
    came = days.entered & ~slept & dry
    allowed = int(params.presence.visits_a_week)
    visited = days.visited | keep_rare_days(came, among=came, limit=allowed)
    someone = days.water_used | days.energy_lived | (days.entered & ~visited)
    # By a lock alone whoever comes in lives there, unless a resident looked in.
    someone |= opened & ~visited
    against = someone | ~frame.let | frame.declared
    dripped = _overflowing_days(
        frame["water_trickle_l"],
        unclear=against | days.visited,
        used=against,
        allowance=params.trickle_l,
    )
    by_water = days.water_quiet | days.visited
    by_energy = days.energy_quiet | days.energy_between
    return _Signs(
        presence=days,
        dripped=dripped,
        visited=visited,
        shut=shut,
        broken=against | dripped,
        known=by_water | by_energy | shut | (locked & visited),
    )


def _days_by_lock_alone(frame: UnitDayFrame, params: UnoccupiedParams) -> Mask:
    """Return the days on which a lock is all there is, of units whose household used to come in by
    it.
    """
    alone: Mask = frame.fitted["lock"] & ~frame.fitted["water"] & ~frame.fitted["energy"]
    rows = np.flatnonzero(alone.any(axis=1))
    let = frame.let[rows]
    entries = frame["entries"][rows]
    with np.errstate(invalid="ignore"):
        came_in = let & (entries > 0) & (frame["residents_seen"][rows] > 0)
    known = let & ~np.isnan(entries)
    # The best two months count: a long absence does not make a household one that was never seen.
    known_days = np.maximum(rolling(known, _TWO_MONTHS), _LEAST_LOCK_DAYS)
    share = rolling(came_in, _TWO_MONTHS) / known_days
    alone[rows[share.max(axis=1, initial=0.0) < params.usual_entries]] = False
    return alone


def _overflowing_days(
    trickle: NDArray[Any], *, unclear: Mask, used: Mask, allowance: float
) -> Mask:
    """Find the days on which the drips (litres) since the last use add up to more than the
    allowance.

    On `unclear` days, those of use or of a visit, the drips before and after cannot be told apart;
    they count from the next day on.
    """
    overflowing = np.zeros_like(used)
    with np.errstate(invalid="ignore"):
        drips = (trickle > 0) & ~unclear
    for row in np.flatnonzero(drips.any(axis=1)).tolist():
        days = np.flatnonzero(drips[row])
        # Uses so far: where their number is another, the sum begins anew.
        uses = np.cumsum(used[row])[days]
        total = 0.0
        uses_before = -1
        amounts = trickle[row, days].tolist()
        for day, use, amount in zip(days.tolist(), uses.tolist(), amounts, strict=True):
            total = amount + (total if use == uses_before else 0.0)
            uses_before = use
            if total > allowance + _ROUNDING_L:
                overflowing[row, day] = True
                total = 0.0
    return overflowing


# Judging a run ----------------------------------------------------------------------------


def _judge_run(
    frame: UnitDayFrame, params: UnoccupiedParams, signs: _Signs, days: tuple[int, int, int]
) -> Judgement:
    """Judge one run of days without a sign against absence: `days` are its row and its columns
    [begin, stop).
    """
    row, begin, stop = days
    known = np.flatnonzero(signs.known[row, begin:stop])
    if not len(known):
        return Judgement([], _abstain_without_data(frame, row, begin, stop))
    run = _measure_run(frame, params, signs, days, known)
    support = _support(run, params)
    abstentions = []
    if run.frozen and stop - run.end >= params.abstain_days:
        unit = int(frame.units[row])
        abstentions.append(Abstention(unit=unit, first=run.end, last=stop - 1, reason="no_data"))
    reason = _reason_to_abstain(run, support, params)
    if reason is not None and run.days >= params.abstain_days:
        abstentions.append(run.abstain(frame, reason))
    if reason is not None or run.length_ms < params.warn_days * DAY_MS:
        return Judgement([], abstentions)
    families = _families(frame, run, support)
    if run.visits and _longest_ms(frame, signs, run) < params.warn_days * DAY_MS:
        # Visits make it doubtful: then two families have to agree for longer, or all three.
        if run.length_ms < params.warn_visited_days * DAY_MS and len(families) < 3:
            return Judgement([], abstentions)
        if len(families) < 2:
            return Judgement([], [*abstentions, run.abstain(frame, "looked_in_one_family")])
    return Judgement([_finding(frame, signs, run, families)], abstentions)


def _abstain_without_data(frame: UnitDayFrame, row: int, begin: int, stop: int) -> list[Abstention]:
    if not frame.let[row, begin:stop].all():
        return []
    has_meter = (frame.fitted["water"] | frame.fitted["energy"])[row, begin:stop].any()
    reason = "no_data" if has_meter else "no_meter"
    unit = int(frame.units[row])
    return [Abstention(unit=unit, first=begin, last=stop - 1, reason=reason)]


def _measure_run(
    frame: UnitDayFrame,
    params: UnoccupiedParams,
    signs: _Signs,
    days: tuple[int, int, int],
    known: NDArray[np.int64],
) -> _QuietRun:
    row, begin, stop = days
    end = begin + int(known[-1]) + 1
    span = slice(begin, end)
    lasts = stop == frame.days
    since = _since(frame, signs, row, begin)
    until = None if lasts else _until(frame, signs, row, stop)
    last_instant = float(frame.day_starts[end]) if until is None else until
    visited = signs.visited[row, span]
    quiet_water = signs.presence.water_quiet[row, span] | signs.presence.visited[row, span]
    shut = signs.shut[row, span]
    lock_days = 0
    if shut.any():
        lock_days = int((shut | (visited & frame.fitted["lock"][row, span])).sum())
    return _QuietRun(
        row=row,
        start=begin,
        end=end,
        since=since,
        until=until,
        length_ms=last_instant - since,
        frozen=lasts and stop - end >= params.silent_days,
        known_days=len(known),
        visits=int(visited.sum()),
        water_days=int(quiet_water.sum()),
        energy_days=int(signs.presence.energy_quiet[row, span].sum()),
        lock_days=lock_days,
    )


def _support(run: _QuietRun, params: UnoccupiedParams) -> _Support:
    most_days = (1.0 - params.max_unknown) * run.days
    most_visits = params.max_visited * run.days
    seldom_visited = run.visits <= max(_ALWAYS_ALLOWED_VISITS, most_visits)
    # With a water meter that shows too many visits electricity may not stand in for it.
    often_visited = bool(run.water_days) and run.visits > most_visits
    return _Support(
        water=run.water_days >= most_days and seldom_visited,
        electricity=run.energy_days >= params.min_quiet_energy * run.days and not often_visited,
        lock=run.lock_days >= most_days and seldom_visited,
    )


def _reason_to_abstain(run: _QuietRun, support: _Support, params: UnoccupiedParams) -> str | None:
    by_meter = support.water or support.electricity
    is_long = run.length_ms >= params.warn_days * DAY_MS
    unknown_share = 1.0 - run.known_days / run.days
    if unknown_share > params.max_unknown:
        return "thin_coverage"
    if is_long and run.water_days and not by_meter:
        return "thin_coverage"
    if not by_meter and not support.lock and not run.water_days:
        return "low_but_not_empty"
    return None


def _families(frame: UnitDayFrame, run: _QuietRun, support: _Support) -> list[str]:
    families = []
    if support.water:
        families.append("water")
    if support.electricity:
        families.append("electricity")
    has_door_data = not np.isnan(frame["residents_nights"][run.row, run.span]).all()
    if support.lock or has_door_data:
        families.append("access")
    return families


def _longest_ms(frame: UnitDayFrame, signs: _Signs, run: _QuietRun) -> float:
    """Return the longest time within a run in which nobody so much as looked in."""
    row = run.row
    visits = run.start + np.flatnonzero(signs.visited[row, run.span])
    first_use = frame["water_first_use_at"][row, visits]
    last_use = frame["water_last_use_at"][row, visits]
    # Someone who came and used no water counts as having come at noon.
    noon = (frame.day_starts[visits] + frame.day_starts[visits + 1]) / 2
    final = frame.day_starts[run.end] if run.until is None else run.until
    ends = np.append(np.where(np.isnan(first_use), noon, first_use), final)
    begins = np.append(run.since, np.where(np.isnan(last_use), noon, last_use))
    return float((ends - begins).max())


def _since(frame: UnitDayFrame, signs: _Signs, row: int, begin: int) -> float:
    """Return the instant since which nobody was there: the end of the last use, else the start of
    the first day.
    """
    before = begin - 1
    if begin > 0 and signs.presence.water_used[row, before]:
        return float(frame["water_last_use_at"][row, before])
    if begin > 0 and signs.dripped[row, before]:
        return _noon(frame, before)
    return float(frame.day_starts[begin])


def _until(frame: UnitDayFrame, signs: _Signs, row: int, stop: int) -> float:
    """Return the instant at which someone was there again."""
    if signs.presence.water_used[row, stop]:
        first_use = frame["water_first_use_at"][row, stop]
        return float(min(first_use, frame.day_starts[stop + 1]))
    if signs.dripped[row, stop]:
        return _noon(frame, stop)
    return float(frame.day_starts[stop])


def _noon(frame: UnitDayFrame, day: int) -> float:
    """Return the middle of a day: it is not known when in it the last drip too many fell."""
    return float((frame.day_starts[day] + frame.day_starts[day + 1]) / 2)


# The finding ------------------------------------------------------------------------------


def _finding(frame: UnitDayFrame, signs: _Signs, run: _QuietRun, families: list[str]) -> Finding:
    span = run.span
    final = frame.day_starts[run.end] if run.until is None else run.until
    days = int((final - run.since) // DAY_MS)
    entries = _known(frame["entries"][run.row, span])
    entered = int(entries.sum())
    cars = _known(frame["cars_nights"][run.row, span])
    parked = int((cars > 0).sum())
    # A car that is parked there by night, week after week, has somebody who drives it.
    car_parked = parked > 0 and parked >= _PARKED_SHARE * len(cars)
    reasons = []
    if "water" in families:
        reasons.append("no_water_used")
    if "electricity" in families:
        reasons.append("electricity_as_empty")
    if len(entries):
        reasons.append("residents_only_looked_in" if entered else "no_resident_entered")
    if run.visits:
        reasons.append("looked_in")
    if car_parked:
        reasons.append("car_parked")
    numbers = {
        "days": days,
        "families": families,
        "visits": run.visits,
        "days_car_parked": parked if len(cars) else None,
        "water_l": _total_litres(frame, run) if "water" in families else None,
        "kwh_per_day": mean_of(frame["energy_kwh"][run.row, span], 2),
        "entries": entered if len(entries) else None,
        "coverage": round(float(np.mean(signs.known[run.row, span])), 3),
        "from_day": frame.day(run.start).isoformat(),
        "to_day": frame.day(run.end - 1).isoformat(),
    }
    # It began between the last sign of life and the first day that is quiet as a whole.
    known_to_ms = 0 if "water" in families else DAY_MS
    doubt = _doubt(families, days, run.visits, car_parked=car_parked)
    return Finding(
        unit=int(frame.units[run.row]),
        since_ms=int(run.since),
        until_ms=None if run.until is None else int(run.until),
        since_between=(int(run.since - known_to_ms), int(run.since + DAY_MS)),
        frozen=run.frozen,
        score=round(1.0 - min(doubt, _GREATEST_DOUBT), 3),
        reasons=tuple(reasons),
        evidence=numbers,
    )


def _total_litres(frame: UnitDayFrame, run: _QuietRun) -> float:
    return round(float(np.nansum(frame["water_l"][run.row, run.span])), 1)


def _known(values: NDArray[Any]) -> NDArray[Any]:
    known: NDArray[Any] = values[~np.isnan(values)]
    return known


def _doubt(families: list[str], days: int, visits: int, *, car_parked: bool) -> float:
    """Return how likely the finding is wrong; visits and a parked car make it doubtful."""
    doubt = _DOUBT_OF_LOCK if families == ["access"] else _DOUBT
    doubt *= _FURTHER_FAMILY ** (len(families) - 1)
    if days >= _LONG_DAYS:
        doubt *= _LONG_RUN
    doubt += _DOUBT_OF_VISITS * visits / max(1, days)
    if car_parked:
        doubt += _DOUBT_OF_CAR
    return doubt


DETECTOR = Detector(
    key="unoccupied",
    version="4",
    family="compliance",
    inputs=presence.INPUTS
    | {
        "cars_nights",
        "residents_nights",
        "water_first_use_at",
        "water_trickle_l",
    },
    params_type=UnoccupiedParams,
    reasons=(
        "no_water_used",
        "electricity_as_empty",
        "no_resident_entered",
        "residents_only_looked_in",
        "looked_in",
        "car_parked",
    ),
    abstention_reasons=(
        "no_data",
        "no_meter",
        "thin_coverage",
        "low_but_not_empty",
        "looked_in_one_family",
    ),
    legal_basis="公共租赁住房管理办法 第二十七条（无正当理由连续6个月以上闲置）",
    runbook="docs/runbooks/unoccupied.md",
    detect=detect,
)
