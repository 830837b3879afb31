"""What each day of each home says of whether someone lives there: the words that all compliance detectors share.

Water is the cleaner signal, electricity the second, doors the third. A leak is not use, a lamp on a timer is not life, and
a tap that is opened once a week is a visit. Where nothing is known, nothing is said.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame, often, rolling

Params = dict[str, float]
#: Pairs of days of a fortnight that must be known before it can be called even.
_PAIRS = 9
DEFAULTS: Params = {
    "min_cover": 0.75,  # share of a day that readings must cover before it says "quiet"
    "visit_l": 80.0,  # litres that a visit to an empty home may use at most,
    "visit_least_l": 50.0,  # though never less than this,
    "visit_share": 0.75,  # of what a lived-in day of the same home uses,
    "visit_hours": 6.0,  # within so many hours of the day
    "visits_a_week": 2.0,  # more than so many in seven days are no visits
    "quiet_share": 0.2,  # of a lived-in day: up to here a day's electricity is an empty home's
    "quiet_cap_kwh": 4.0,  # and never more than this
    "lived_share": 0.4,  # of a lived-in day: from here on someone lives there
    "lived_days": 30,  # lived-in days that must be known before electricity can judge
    "dead_kwh": 0.1,  # the main switch is off: quiet for any home
    "machine_step": 0.04,  # days that differ no more than this from the one before are a machine's, not a person's,
    "empty_share": 0.6,  # up to this share of a lived-in day such a fortnight is an empty home's
    "machine_share": 0.8,  # where they come to less than this share of a lived-in day
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What each (unit, day) says, as masks; several may hold, and none where nothing is known.

    `living` are the days that show life by a meter, `empty` those that show by one that nobody was there. `energy_even` are days of
    fortnights whose electricity is the same every day. `used_l` is the day's water without what leaked; `usual_l` and
    `usual_kwh` (units,) are a lived-in day of the home.
    """

    living: Mask
    empty: Mask
    water_used: Mask
    water_quiet: Mask
    visited: Mask
    energy_lived: Mask
    energy_quiet: Mask
    energy_between: Mask
    energy_even: Mask
    entered: Mask
    used_l: NDArray[np.float32]
    usual_l: NDArray[np.float32]
    usual_kwh: NDArray[np.float32]

    def of(self, rows: NDArray[np.int64]) -> Presence:
        """Return what the days of some units say."""
        return Presence(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def read(frame: UnitDayFrame, params: Params) -> Presence:
    """Classify every day of every unit; detectors with the same parameters share it."""
    key = ("presence", *(params[name] for name in sorted(DEFAULTS)))
    if key not in frame.derived:
        frame.derived[key] = _read(frame, params)
    found: Presence = frame.derived[key]
    return found


def _read(frame: UnitDayFrame, params: Params) -> Presence:
    # A register that says the same after a gap as before it did not run in between: that is a reading, not silence.
    stood_still = (frame["water_cover"] == 0) & (frame["water_l"] == 0)
    covered = (frame["water_cover"] >= params["min_cover"]) | stood_still
    drawn = ~np.isnan(frame["water_last_use_at"])
    litres = frame["water_l"]
    with np.errstate(invalid="ignore"):
        # The last digit trembles: a litre an hour more than the least may still be the leak's.
        least = frame["water_least_l_h"]
        leaks = least > 0
        used_l = litres.copy()
        used_l[leaks] = np.maximum(litres[leaks] - (least[leaks] + 1) * 24, 0)
        kwh = frame["energy_kwh"].copy()
        kwh[~(frame["energy_cover"] >= params["min_cover"])] = np.nan
    usual_l = _usual(used_l, covered, 10.0, int(params["lived_days"]))
    # What a lived-in day takes is learnt on days on which somebody lived there: let, and not with the tap dry all day.
    usual_kwh = _usual(
        kwh, frame.let & (drawn | ~covered), 4 * params["dead_kwh"], int(params["lived_days"])
    )
    usual = usual_kwh[:, None]
    machine = as_even_as_a_machine(kwh, params["machine_step"])
    with np.errstate(invalid="ignore"):
        least = np.fmax(
            np.minimum(params["quiet_share"] * usual, params["quiet_cap_kwh"]), params["dead_kwh"]
        )
        # What an empty home draws may be much for a thrifty household, but it is the same every day.
        quiet = (kwh <= least) | ((kwh < params["empty_share"] * usual) & machine)
        lived = (
            (kwh > params["lived_share"] * usual)
            & ~quiet
            & ~((kwh < params["machine_share"] * usual) & machine)
        )
        entered = (frame["entries"] > 0) & (frame["residents_seen"] > 0)
    visited = _visits(frame, params, drawn, covered, used_l, usual_l)
    water_used, water_quiet = drawn & ~visited, covered & ~drawn
    living = water_used | lived
    return Presence(
        living=living,
        empty=~living & (water_quiet | visited | quiet),
        water_used=water_used,
        water_quiet=water_quiet,
        visited=visited,
        energy_lived=lived,
        energy_quiet=quiet,
        energy_even=machine,
        energy_between=~np.isnan(kwh) & ~np.isnan(usual) & ~quiet & ~lived,
        entered=entered,
        used_l=used_l,
        usual_l=usual_l,
        usual_kwh=usual_kwh,
    )


def _usual(amount: NDArray[Any], asked: Mask, least: float, days: int) -> NDArray[np.float32]:
    """Return each unit's usual lived-in day: the median of the days that are asked, above a quarter of their 90th percentile.

    Long absences pull the plain median down; the days in which someone lived there do not move with them. NaN where fewer than
    `days` such days are known or where they come to less than `least`.
    """
    # What is not known comes last, so counting is looking for the first of it.
    ordered = np.empty((len(amount), amount.shape[1] + 1), dtype=np.float32)
    ordered[:, :-1], ordered[:, -1] = amount, np.nan
    ordered[:, :-1][~asked] = np.nan
    ordered.sort(axis=1)
    known = np.isnan(ordered).argmax(axis=1)
    rows = np.arange(len(ordered))
    high = ordered[rows, np.clip((0.9 * (known - 1)).round().astype(int), 0, None)] * np.float32(
        0.25
    )
    with np.errstate(invalid="ignore"):
        begin = (~(ordered < high[:, None])).argmax(axis=1)
    lived = known - begin
    middle = np.clip(begin + (lived - 1) // 2, 0, max(0, ordered.shape[1] - 1))
    usual: NDArray[np.float32] = ordered[rows, middle]
    with np.errstate(invalid="ignore"):
        usual[(lived < days) | ~(usual > least)] = np.nan
    return usual


def as_even_as_a_machine(kwh: NDArray[Any], same: float) -> Mask:
    """Find the days of fortnights that are as even as only a machine's are: a lamp on a timer, a heater, a fridge.

    Most days of such a fortnight take what the day before them took, but for those on which somebody looked in.
    """
    with np.errstate(invalid="ignore"):
        step = np.abs(kwh[:, 1:] - kwh[:, :-1])
        alike = step <= same * kwh[:, 1:]
    out = np.zeros(kwh.shape, dtype=bool)
    # Few homes ever have such a fortnight.
    some = np.flatnonzero(rolling(alike, 14).max(axis=1, initial=0) >= 0.6 * _PAIRS)
    even = np.zeros((len(some), kwh.shape[1]), dtype=bool)
    pairs = rolling(~np.isnan(step[some]), 14)
    even[:, 1:] = (pairs >= _PAIRS) & (rolling(alike[some], 14) >= 0.6 * pairs)
    # A fortnight is even as a whole: its first days too.
    out[some] = rolling(even, 14, ahead=True) > 0
    return out


def _visits(
    frame: UnitDayFrame,
    params: Params,
    drawn: Mask,
    covered: Mask,
    used_l: NDArray[Any],
    usual_l: NDArray[Any],
) -> Mask:
    """Find the days on which somebody opened a tap in a home where nobody lives: little water, in few hours, between quiet days."""
    share = np.maximum(
        params["visit_least_l"], params["visit_share"] * np.nan_to_num(usual_l, nan=100.0)
    )
    allowed = np.minimum(params["visit_l"], share).astype(np.float32)[:, None]
    with np.errstate(invalid="ignore"):
        # Where the hours are not known they say nothing against it.
        little = (
            drawn & covered & (used_l <= allowed) & ~(frame["water_hours"] > params["visit_hours"])
        )
    # A day beside it of which nothing is known says nothing against it.
    beside = ~drawn | little
    alone: Mask = little.copy()
    alone[:, :1] = False
    alone[:, 1:] &= beside[:, :-1]
    alone[:, :-1] &= beside[:, 1:]
    return seldom(little, alone, params)


def seldom(days: Mask, asked: Mask, params: Params) -> Mask:
    """Tell of each day that is asked for whether few days around it are like it, within a week before and a week after."""
    some, few = often(asked, 1), int(params["visits_a_week"])
    out = asked.copy()
    out[some] &= (rolling(days[some], 7) <= few) & (rolling(days[some], 7, ahead=True) <= few)
    return out
