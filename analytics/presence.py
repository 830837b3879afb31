"""What each day of each home says of whether someone lives there: the signs that all compliance
detectors share.

Water is the cleaner signal, electricity the second, doors the third. A leak is not use, a lamp on a
timer is not life, and a tap that is opened once a week is a visit. Where nothing is known, nothing
is said.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.frame import Mask, UnitDayFrame, often, rolling
from analytics.parameters import Count, DayCount, HourCount, KilowattHours, Litres, Share

#: Columns of the frame that are read here.
INPUTS = frozenset(
    {
        "energy_cover",
        "energy_kwh",
        "entries",
        "residents_seen",
        "water_cover",
        "water_hours",
        "water_l",
        "water_last_use_at",
        "water_least_l_h",
    }
)
#: Litres that a registered resident uses a day, as a rule; a site sets its own in its policy.
LITRES_PER_MEMBER = 130.0
#: Litres a day up to which a lived-in day is no measure of a home.
_LEAST_USUAL_L = 10.0
#: Litres that a lived-in day is taken to use in a home of which none is known.
_ASSUMED_USUAL_L = 100.0
#: A lived-in day is one above this share of the home's 90th percentile.
_LIVED_PERCENTILE = 0.9
_LIVED_SHARE_OF_IT = 0.25
#: Days of a stretch that is as even as a machine's; pairs of them that must be known; share of the
#: pairs that must be alike.
_FORTNIGHT = 14
_KNOWN_PAIRS = 9
_ALIKE_SHARE = 0.6
_WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceParams:
    """Limits by which a day is lived in, empty or a visit."""

    min_cover: Share = 0.75
    """Share of a day that readings must cover before the day counts as quiet: use may hide in a
    gap.
    """
    visit_l: Litres = 80.0
    """Litres that a visit to an empty home uses at most."""
    visit_least_l: Litres = 50.0
    """Litres that a visit may always use, however thrifty the home."""
    visit_share: Share = 0.75
    """Share of a lived-in day's water of the same home that a visit uses at most."""
    visit_hours: HourCount = 6.0
    """Hours of the day with flow that a visit has at most."""
    visits_a_week: Count = 2.0
    """Visits in seven days; where there are more, somebody lives there."""
    quiet_share: Share = 0.2
    """Share of a lived-in day's electricity up to which a day is an empty home's (0.4 to 1.2 kWh of
    standby).
    """
    quiet_cap_kwh: KilowattHours = 4.0
    """kWh a day above which no day is an empty home's."""
    lived_share: Share = 0.4
    """Share of a lived-in day's electricity from which someone lives there."""
    lived_days: DayCount = 30
    """Lived-in days that must be known before electricity can judge."""
    dead_kwh: KilowattHours = 0.1
    """kWh a day of a home whose main switch is off: quiet for any home."""
    machine_step: Share = 0.04
    """Greatest relative step from the day before that is a machine's: a lamp on a timer, a fridge,
    a heater.
    """
    empty_share: Share = 0.6
    """Share of a lived-in day up to which a fortnight of a machine is an empty home's."""
    machine_share: Share = 0.8
    """Share of a lived-in day under which a fortnight of a machine is no life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """What each day says: masks of shape (units, days). Several may hold, and none where nothing is
    known.

    `living` are the days that show life by a meter, `empty` those that show by one that nobody was
    there. `energy_even` are days of fortnights whose electricity is the same every day. `used_l`
    (units, days) is the day's water in litres without what leaked; `usual_l` (litres) and
    `usual_kwh` (units,) are a lived-in day of the home, NaN where it is not known.
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
        """Return what the days of some units say, by their rows in the frame."""
        return Presence(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def read_presence(frame: UnitDayFrame, params: PresenceParams) -> Presence:
    """Classify every day of every unit; detectors with the same parameters share the result."""
    key = ("presence", params)
    if key not in frame.derived:
        frame.derived[key] = _classify_days(frame, params)
    presence: Presence = frame.derived[key]
    return presence


@dataclass(frozen=True, slots=True, kw_only=True)
class _WaterDays:
    """Signs of the water meter, of shape (units, days); `usual_l` (units,)."""

    used: Mask
    quiet: Mask
    visited: Mask
    covered: Mask
    drawn: Mask
    used_l: NDArray[np.float32]
    usual_l: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergyDays:
    """Signs of the electricity meter, of shape (units, days); `usual_kwh` (units,)."""

    lived: Mask
    quiet: Mask
    between: Mask
    even: Mask
    usual_kwh: NDArray[np.float32]


def _classify_days(frame: UnitDayFrame, params: PresenceParams) -> Presence:
    water = _classify_water(frame, params)
    energy = _classify_energy(frame, params, water)
    with np.errstate(invalid="ignore"):
        entered = (frame["entries"] > 0) & (frame["residents_seen"] > 0)
    living = water.used | energy.lived
    return Presence(
        living=living,
        empty=~living & (water.quiet | water.visited | energy.quiet),
        water_used=water.used,
        water_quiet=water.quiet,
        visited=water.visited,
        energy_lived=energy.lived,
        energy_quiet=energy.quiet,
        energy_even=energy.even,
        energy_between=energy.between,
        entered=entered,
        used_l=water.used_l,
        usual_l=water.usual_l,
        usual_kwh=energy.usual_kwh,
    )


def _classify_water(frame: UnitDayFrame, params: PresenceParams) -> _WaterDays:
    # A register that reads the same after a gap as before it did not run in between: that is a
    # reading, not silence.
    stood_still = (frame["water_cover"] == 0) & (frame["water_l"] == 0)
    covered = (frame["water_cover"] >= params.min_cover) | stood_still
    drawn = ~np.isnan(frame["water_last_use_at"])
    litres = frame["water_l"]
    with np.errstate(invalid="ignore"):
        # The last digit trembles: a litre an hour more than the least may still be the leak's.
        least = frame["water_least_l_h"]
        leaks = least > 0
        used_l = litres.copy()
        used_l[leaks] = np.maximum(litres[leaks] - (least[leaks] + 1) * 24, 0)
    usual_l = _usual_lived_day(used_l, covered, _LEAST_USUAL_L, params.lived_days)
    visited = _find_visits(
        frame, params, used_l=used_l, usual_l=usual_l, drawn=drawn, covered=covered
    )
    return _WaterDays(
        used=drawn & ~visited,
        quiet=covered & ~drawn,
        visited=visited,
        covered=covered,
        drawn=drawn,
        used_l=used_l,
        usual_l=usual_l,
    )


def _classify_energy(frame: UnitDayFrame, params: PresenceParams, water: _WaterDays) -> _EnergyDays:
    kwh = frame["energy_kwh"].copy()
    kwh[~(frame["energy_cover"] >= params.min_cover)] = np.nan
    # A lived-in day's electricity is taken from days on which somebody lived there: let, and the
    # tap not dry all day.
    lived_in = frame.let & (water.drawn | ~water.covered)
    usual_kwh = _usual_lived_day(kwh, lived_in, 4 * params.dead_kwh, params.lived_days)
    usual = usual_kwh[:, None]
    even = machine_like_days(kwh, params.machine_step)
    with np.errstate(invalid="ignore"):
        standby = np.minimum(params.quiet_share * usual, params.quiet_cap_kwh)
        limit = np.fmax(standby, params.dead_kwh)
        # What an empty home draws may be much for a thrifty household, but it is the same every
        # day.
        quiet = (kwh <= limit) | ((kwh < params.empty_share * usual) & even)
        machine_only = (kwh < params.machine_share * usual) & even
        lived = (kwh > params.lived_share * usual) & ~quiet & ~machine_only
    return _EnergyDays(
        lived=lived,
        quiet=quiet,
        between=~np.isnan(kwh) & ~np.isnan(usual) & ~quiet & ~lived,
        even=even,
        usual_kwh=usual_kwh,
    )


def _usual_lived_day(
    amount: NDArray[Any], counted: Mask, least: float, days: int
) -> NDArray[np.float32]:
    """Return each unit's usual lived-in day (units,): a median of the days that are `counted`.

    Only days above a quarter of their 90th percentile take part: long absences pull the plain
    median down, and the days on which someone lived there do not move with them. NaN where fewer
    than `days` such days are known or where they come to less than `least`.
    """
    # Unknown days come last in order, so the first of them tells how many are known.
    ordered = np.empty((len(amount), amount.shape[1] + 1), dtype=np.float32)
    ordered[:, :-1] = amount
    ordered[:, -1] = np.nan
    ordered[:, :-1][~counted] = np.nan
    ordered.sort(axis=1)
    known = np.isnan(ordered).argmax(axis=1)
    rows = np.arange(len(ordered))
    percentile = np.clip((_LIVED_PERCENTILE * (known - 1)).round().astype(int), 0, None)
    limit = ordered[rows, percentile] * np.float32(_LIVED_SHARE_OF_IT)
    with np.errstate(invalid="ignore"):
        begin = (~(ordered < limit[:, None])).argmax(axis=1)
    lived = known - begin
    middle = np.clip(begin + (lived - 1) // 2, 0, max(0, ordered.shape[1] - 1))
    usual: NDArray[np.float32] = ordered[rows, middle]
    with np.errstate(invalid="ignore"):
        usual[(lived < days) | ~(usual > least)] = np.nan
    return usual


def machine_like_days(amount: NDArray[Any], step: float) -> Mask:
    """Find the days of fortnights that are as even as only a machine's are: a lamp on a timer, a
    heater, a fridge.

    `amount` (units, days) may hold NaN. Most days of such a fortnight lie within a relative `step`
    of the day before; the others are days on which somebody looked in.
    """
    with np.errstate(invalid="ignore"):
        difference = np.abs(amount[:, 1:] - amount[:, :-1])
        alike = difference <= step * amount[:, 1:]
    found = np.zeros(amount.shape, dtype=bool)
    # Few homes ever have such a fortnight: only they are looked at closely.
    most_alike = rolling(alike, _FORTNIGHT).max(axis=1, initial=0)
    candidates = np.flatnonzero(most_alike >= _ALIKE_SHARE * _KNOWN_PAIRS)
    even = np.zeros((len(candidates), amount.shape[1]), dtype=bool)
    pairs = rolling(~np.isnan(difference[candidates]), _FORTNIGHT)
    enough_alike = rolling(alike[candidates], _FORTNIGHT) >= _ALIKE_SHARE * pairs
    even[:, 1:] = (pairs >= _KNOWN_PAIRS) & enough_alike
    # A fortnight is even as a whole: its first days too.
    found[candidates] = rolling(even, _FORTNIGHT, ahead=True) > 0
    return found


def _find_visits(
    frame: UnitDayFrame,
    params: PresenceParams,
    *,
    used_l: NDArray[Any],
    usual_l: NDArray[Any],
    drawn: Mask,
    covered: Mask,
) -> Mask:
    """Find the days on which somebody opened a tap in an empty home: little water, in few hours,
    between quiet days.
    """
    share = params.visit_share * np.nan_to_num(usual_l, nan=_ASSUMED_USUAL_L)
    allowed = np.minimum(params.visit_l, np.maximum(params.visit_least_l, share))
    with np.errstate(invalid="ignore"):
        # Where the hours are not known they say nothing against it.
        many_hours = frame["water_hours"] > params.visit_hours
        small = used_l <= allowed.astype(np.float32)[:, None]
    little = drawn & covered & small & ~many_hours
    # A neighbouring day of which nothing is known says nothing against it.
    quiet_beside = ~drawn | little
    alone: Mask = little.copy()
    alone[:, :1] = False
    alone[:, 1:] &= quiet_beside[:, :-1]
    alone[:, :-1] &= quiet_beside[:, 1:]
    return keep_rare_days(alone, among=little, limit=int(params.visits_a_week))


def keep_rare_days(days: Mask, *, among: Mask, limit: int) -> Mask:
    """Keep those `days` with at most `limit` days of `among` in the week up to them and in the week
    from them on.
    """
    rows = often(days, 1)
    kept = days.copy()
    before = rolling(among[rows], _WEEK) <= limit
    after = rolling(among[rows], _WEEK, ahead=True) <= limit
    kept[rows] &= before & after
    return kept
