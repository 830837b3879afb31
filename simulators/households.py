"""What a household uses, hour by hour: water, electricity, and doors.

An empty home still draws 0.4 to 1.2 kWh a day. Each day is drawn from its own generator, so a day
is the same whether it is simulated alone or with others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from simulators.city import City, Home, Story

#: Share of a present person's water draws that fall into each hour of the day.
_WATER = np.array(
    [4, 2, 1, 1, 1, 3, 18, 24, 12, 7, 6, 10, 14, 7, 5, 5, 7, 14, 22, 22, 20, 20, 14, 8], dtype=float
)
_WATER /= _WATER.sum()
#: Watts of a present person's doings, by hour.
_DOING = np.array(
    [
        20,
        10,
        8,
        8,
        8,
        15,
        70,
        90,
        60,
        45,
        50,
        110,
        120,
        60,
        50,
        50,
        60,
        130,
        190,
        210,
        200,
        180,
        120,
        50,
    ],
    dtype=float,
)
_NIGHT = np.array([h < 7 or h >= 22 for h in range(24)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Someone through the entrance door: seconds into the day, whose token, which way."""

    second: int
    person: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """One home's day: litres and kWh of each hour, and its passages."""

    litres: NDArray[np.float64]
    kwh: NDArray[np.float64]
    passages: list[Passage]


def live_day(city: City, home: Home, day: date) -> Day:
    """Simulate one home on one day."""
    rng = city.rng(1, home.index, day.toordinal())
    in_story = home.story_holds(day)
    away = in_story and home.story in (Story.LEFT, Story.HOLIDAY, Story.DECLARED_AWAY, Story.UNLET)
    people = 0 if away else home.people
    tokens = [home.resident(p) for p in range(people)]
    if in_story and home.story is Story.SUBLET:
        # Others live there now, who have been given the residents' codes by nobody: their tokens
        # are not registered.
        tokens = [f"q-{home.index:05d}-{p}" for p in range(people)]
    weekend = day.weekday() >= 5
    is_free = weekend or not home.works
    present = np.full(24, float(people))
    passages: list[Passage] = []
    for token in tokens:
        if rng.random() < (0.6 if is_free else 0.93):
            out = int(rng.normal(10 if weekend else 7.8, 1.3) * 3600)
            outing = int(abs(rng.normal(4.5 if is_free else 9.5, 1.8)) * 3600)
            back = out + outing + 900
            out = max(0, min(out, 84_000))
            back = min(back, 86_399)
            present[out // 3600 + 1 : back // 3600] -= 1
            passages += [
                Passage(second=out, person=token, direction="out"),
                Passage(second=back, person=token, direction="in"),
            ]
    present = np.maximum(present, 0.0)
    litres = _draw_water(rng, home, present)
    if in_story and home.story is Story.LEAK:
        litres = litres + city.rng(2, home.index).uniform(3.0, 14.0)
    return Day(
        litres=litres,
        kwh=_draw_power(rng, home, present, day, empty=people == 0),
        passages=passages,
    )


def _draw_water(
    rng: np.random.Generator, home: Home, present: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean_draw = 7.0
    draws = rng.poisson(present * home.base_l * _WATER / mean_draw)
    return np.array([rng.gamma(1.6, mean_draw / 1.6, n).sum() if n else 0.0 for n in draws])


def _draw_power(
    rng: np.random.Generator, home: Home, present: NDArray[np.float64], day: date, *, empty: bool
) -> NDArray[np.float64]:
    if empty:
        # The fridge is on or off; what else is plugged in goes on.
        level = home.standby_w * (0.55 + 0.45 * (home.index % 2))
        return np.maximum(0.0, level * rng.normal(1.0, 0.15, 24)) / 1000.0
    fridge = 25.0 + 10.0 * rng.random(24)
    doing = present * _DOING * rng.gamma(2.0, 0.5, 24)
    cooling = (
        _climate_share(day.month)
        * 450.0
        * (present > 0)
        * np.where(_NIGHT, 0.8, 0.5)
        * rng.random(24)
    )
    total: NDArray[np.float64] = (home.standby_w + fridge + doing + cooling) / 1000.0
    return total


def _climate_share(month: int) -> float:
    """Return how much of its power the air conditioner uses in a month."""
    if month in (6, 7, 8, 9):
        return 1.0
    if month in (12, 1, 2):
        return 0.35
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """A home's meters over whole hours from the anchor, in m³ and kWh.

    A value is the register at the end of the hour, of shape (hours,).
    """

    water_m3: NDArray[np.float64]
    energy_kwh: NDArray[np.float64]
    passages: list[tuple[date, Passage]]


def run_home(city: City, home: Home, days: int) -> Registers:
    """Simulate a home from the anchor over some days."""
    rng = city.rng(3, home.index)
    litres = []
    kwh = []
    passages = []
    for i in range(days):
        day = city.anchor + timedelta(days=i)
        lived = live_day(city, home, day)
        litres.append(lived.litres)
        kwh.append(lived.kwh)
        passages += [(day, passage) for passage in lived.passages]
    water = rng.uniform(20, 400) + np.cumsum(np.concatenate(litres)) / 1000.0
    energy = rng.uniform(500, 9000) + np.cumsum(np.concatenate(kwh))
    return Registers(
        water_m3=_shown(water, 0.001), energy_kwh=_shown(energy, 0.01), passages=passages
    )


def _shown(value: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Show what a meter shows: the register down to its smallest step."""
    return np.round(np.floor(value / step + 1e-9) * step, 3)
