"""What meters record of a life: litres and kWh by the hour, and the meters' faults.

Registers show whole steps only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from simulators.world.city import Fitting, WorldCity
from simulators.world.people import Household, WorkPattern
from simulators.world.stories import StoryHome

#: Share of a present person's water that falls into each hour, and the watts of what they do.
_WATER = np.array(
    [3, 1.5, 1, 1, 1.5, 4, 15, 20, 12, 8, 8, 12, 14, 7, 5, 5, 8, 14, 20, 20, 20, 20, 14, 7],
    dtype=float,
)
_WATER /= _WATER.sum()
_DOING = np.array(
    [
        25,
        12,
        8,
        8,
        8,
        20,
        80,
        90,
        60,
        50,
        60,
        130,
        120,
        60,
        50,
        55,
        70,
        150,
        190,
        190,
        190,
        170,
        120,
        60,
    ],
    dtype=float,
)
_DRAW_L = 6.0


@dataclass(slots=True, kw_only=True)
class MeterSeries:
    """One meter's readings.

    `minute` counts from the city's first midnight; `value` is the register, of shape (readings,).
    """

    supply: str
    minute: NDArray[np.int64]
    value: NDArray[np.float64]
    #: Which of the home's meters of this supply it is: 0, or 1 after a registered change.
    number: int = 0


@dataclass(slots=True, kw_only=True)
class Metered:
    """A home's meters, and the day on which one was changed (with the register told of it)."""

    series: list[MeterSeries] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)
    faults: list[tuple[str, int, int]] = field(default_factory=list)


def use(
    city: WorldCity, home: StoryHome, household: Household
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return litres and kWh by (day, hour)."""
    rng = city.rng(5, home.index)
    days = city.days
    month = np.array([(city.first + timedelta(days=i)).month for i in range(days)])
    here = household.at_home.astype(float)
    summer = np.isin(month, (6, 7, 8, 9))
    winter = np.isin(month, (12, 1, 2))
    habits = rng.lognormal(0.0, 0.25, 24)
    ways_l = np.ones(days)
    ways_kwh = np.ones(days)
    if home.new_ways is not None:
        ways_l[home.new_ways[0] :], ways_kwh[home.new_ways[0] :] = home.new_ways[1:]
    per_head = (
        85.0 * home.thrift * np.where(summer, 1.2, 1.0) * ways_l * rng.lognormal(0, 0.12, days)
    )
    draws = rng.poisson(np.maximum(here * (per_head[:, None] * _WATER * habits), 0.0) / _DRAW_L)
    litres = np.where(draws > 0, rng.gamma(np.maximum(draws, 1) * 1.5, _DRAW_L / 1.5), 0.0)
    empty = here.sum(axis=1) == 0
    standby = rng.uniform(8, 40)
    fridge = rng.uniform(15, 40)
    cooling = summer[:, None] * (here > 0) * rng.uniform(150, 600) * rng.random((days, 24))
    heating = winter[:, None] * (here > 0) * rng.uniform(0, 500) * (rng.random((days, 24)) < 0.5)
    doing = here**0.7 * _DOING * habits * rng.gamma(2.0, 0.5, (days, 24)) * ways_kwh[:, None]
    # Who leaves for long may pull the plug of the fridge.
    unplugged = rng.random() < 0.3
    base = standby + fridge * np.where(empty & unplugged, 0.2, 1.0)
    watts = base[:, None] * rng.normal(1.0, 0.06, (days, 24)) + doing + cooling + heating
    _extras(home, rng, litres, watts)
    return litres, np.maximum(watts, 0.0) / 1000.0


def _extras(
    home: StoryHome,
    rng: np.random.Generator,
    litres: NDArray[np.float64],
    watts: NDArray[np.float64],
) -> None:
    days = len(litres)
    for day, amount in home.taps:
        if day < days:
            litres[day, int(rng.integers(9, 19))] += amount
    if home.lamp is not None:
        a, b = home.lamp
        watts[a:b, 18:23] += rng.uniform(40, 220)
    if home.works is not None:
        a, b = home.works
        litres[a:b, 8:17] += rng.gamma(1.0, 5.0, (max(0, min(b, days) - a), 9))
        watts[a:b, 8:17] += rng.gamma(1.5, 200.0, (max(0, min(b, days) - a), 9))
    if home.shop is not None:
        a, b = home.shop
        watts[a:b, 9:21] += rng.uniform(400, 1500) * rng.normal(1.0, 0.1, (b - a, 12))
        litres[a:b, 9:20] += rng.gamma(1.0, 3.0, (b - a, 11))
    if any(p.work is WorkPattern.BEDRIDDEN for p in home.people):
        litres[:, 10] += 5.0 * (litres.sum(axis=1) > 0)


def metered(
    city: WorldCity, home: StoryHome, litres: NDArray[np.float64], kwh: NDArray[np.float64]
) -> Metered:
    """Return what the home's meters showed, with their faults.

    A leak is added to `litres` and to the home's stories.
    """
    fitting = city.fitting(home.index)
    rng = city.rng(6, home.index)
    dead = city.outage(home.index)
    made = Metered()
    offset = int(rng.integers(0, 59))
    if not city.normal and rng.random() < 0.02:
        start = int(rng.integers(0, city.days))
        rate = float(rng.uniform(1.5, 25.0))
        end = min(city.days, start + int(rng.integers(3, 90)))
        litres[start:end] += rate
        if fitting.water_min == 60 and end - start >= 3:
            home.stories.append("leak")
            made.faults.append(("continuous_flow", start, end))
    for supply, minutes, amount, step in (
        ("water", fitting.water_min, litres / 1000.0, 0.001),
        ("energy", fitting.energy_min, kwh, 0.01),
    ):
        if minutes:
            register = rng.uniform(5, 900) + np.cumsum(amount.ravel())
            meter = _Meter(supply=supply, minutes=minutes, step=step, offset=offset)
            _read_meter(city, made, rng, meter, register, dead)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Meter:
    """How one meter speaks: minutes between readings, its smallest step, its first minute."""

    supply: str
    minutes: int
    step: float
    offset: int


def _read_meter(
    city: WorldCity,
    made: Metered,
    rng: np.random.Generator,
    meter: _Meter,
    register: NDArray[np.float64],
    dead: NDArray[np.bool_],
) -> None:
    """Add one meter's readings, and perhaps one fault, to `made`.

    `register` (hours,) is the true consumption summed up; `dead` (days,) marks days without a
    gateway.
    """
    days = city.days
    fate = 1.0 if city.normal else rng.random()
    at = int(days * rng.uniform(0.1, 0.8))
    value = _faulty_register(made, rng, meter.supply, register, fate=fate, at=at)
    shown = np.round(np.floor(value / meter.step + 1e-6) * meter.step, 3)
    minute = (np.arange(len(shown), dtype=np.int64) + 1) * 60 + meter.offset
    keep = ~np.repeat(dead, 24) & (rng.random(len(shown)) > 0.01)
    if meter.minutes == 1440:
        keep &= np.arange(len(shown)) % 24 == 23
    if 0.02 <= fate < 0.05:
        silent = int(rng.integers(0, days))
        keep[silent * 24 : (silent + int(rng.integers(5, 30))) * 24] = False
    supply = meter.supply
    if not 0.05 <= fate < 0.06:
        made.series.append(MeterSeries(supply=supply, minute=minute[keep], value=shown[keep]))
        return
    made.changed[supply] = at
    cut = at * 24
    old = MeterSeries(supply=supply, minute=minute[:cut][keep[:cut]], value=shown[:cut][keep[:cut]])
    fresh = np.round(shown[cut:] - shown[cut], 3)
    new = MeterSeries(
        supply=supply, minute=minute[cut:][keep[cut:]], value=fresh[keep[cut:]], number=1
    )
    made.series += [old, new]


def _faulty_register(
    made: Metered,
    rng: np.random.Generator,
    supply: str,
    register: NDArray[np.float64],
    *,
    fate: float,
    at: int,
) -> NDArray[np.float64]:
    """Return the register with the fault that `fate` chooses from day `at` on, and note it."""
    days = len(register) // 24
    used = np.diff(register, prepend=register[0])
    if fate < 0.006:
        end = min(days, at + int(rng.integers(15, 150)))
        used[at * 24 : end * 24] = 0.0
        made.faults.append(("meter_stuck", at, end))
    elif fate < 0.007:
        used[at * 24 :] *= -1
        made.faults.append(("meter_reversed", at, days))
    elif fate < 0.0085 and supply == "energy":
        used[at * 24 :] *= rng.uniform(0.08, 0.25)
        made.faults.append(("meter_tampered", at, days))
    value: NDArray[np.float64] = register[0] + np.cumsum(used)
    if 0.01 <= fate < 0.014:
        value[at * 24 :] -= value[at * 24] - rng.uniform(0, 1)
        made.faults.append(("meter_swapped", at, days))
    return value


def profile_of(fitting: Fitting, supply: str) -> str:
    """Name the profile of a building's meters."""
    if supply == "water":
        return "water-daily" if fitting.water_min == 1440 else "water-dn15"
    return "electricity-1p-60a"
