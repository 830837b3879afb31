"""Who lives where, and what is wrong: buildings, homes and their stories, all from one seed.

A story is the truth about a home: lived in, away for a while, left, leaking, with a broken meter.
The same seed and anchor give the same city, byte for byte, however far it is run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np

from domain.calendar import DEFAULT_ZONE

ZONE = ZoneInfo(DEFAULT_ZONE)
ESTATE = "qingnian"
FLOORS = 6
PER_FLOOR = 2
ENTRANCES = 2
PER_ENTRANCE = FLOORS * PER_FLOOR
PER_BUILDING = PER_ENTRANCE * ENTRANCES


class Story(StrEnum):
    """What is true of a home."""

    LIVED_IN = "lived_in"
    HOLIDAY = "holiday"
    LEFT = "left"
    DECLARED_AWAY = "declared_away"
    SUBLET = "sublet"
    UNLET = "unlet"
    LEAK = "leak"
    WATER_STUCK = "water_stuck"
    METER_SWAPPED = "meter_swapped"
    METER_RESET = "meter_reset"
    SILENT_METERS = "silent_meters"
    CLOCK_OFF = "clock_off"


#: Share of homes with a story; everyone else just lives there. Never fewer than one home of each.
SHARES: dict[Story, float] = {
    Story.LEFT: 0.03,
    Story.HOLIDAY: 0.12,
    Story.DECLARED_AWAY: 0.02,
    Story.SUBLET: 0.02,
    Story.UNLET: 0.03,
    Story.LEAK: 0.02,
    Story.WATER_STUCK: 0.01,
    Story.METER_SWAPPED: 0.015,
    Story.METER_RESET: 0.01,
    Story.SILENT_METERS: 0.015,
    Story.CLOCK_OFF: 0.01,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One dwelling. `from_day` and `to_day` (None: until now) bound its story."""

    index: int
    building: str
    entrance: str
    unit: str
    floor: int
    area_m2: float
    people: int
    story: Story
    from_day: date | None
    to_day: date | None
    base_l: float
    standby_w: float
    works: bool

    @property
    def household(self) -> str:
        """The household's token."""
        return f"h-{self.index:05d}"

    def resident(self, person: int) -> str:
        """A resident's token."""
        return f"p-{self.index:05d}-{person}"

    @property
    def gateway(self) -> str:
        """The gateway of its building."""
        return f"gw-{self.building}"

    def story_holds(self, day: date) -> bool:
        """Tell whether the story holds on a day."""
        return (
            self.from_day is not None
            and self.from_day <= day
            and (self.to_day is None or day <= self.to_day)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """The whole of it, from `anchor` (the first local day that is simulated) on."""

    seed: int
    anchor: date
    homes: list[Home] = field(default_factory=list)

    @property
    def buildings(self) -> list[str]:
        """Codes of the buildings."""
        return sorted({home.building for home in self.homes}, key=int)

    @property
    def entrances(self) -> list[tuple[str, str]]:
        """Codes of (building, entrance)."""
        return sorted(
            {(home.building, home.entrance) for home in self.homes},
            key=lambda be: (int(be[0]), be[1]),
        )

    def rng(self, *key: int) -> np.random.Generator:
        """Return the generator of one thing, whatever else was drawn before."""
        return np.random.default_rng([self.seed, *key])


def build_city(*, seed: int, units: int, days: int, until: datetime) -> City:
    """Make a city whose simulated past is `days` long."""
    return city_from(
        seed=seed,
        units=units,
        anchor=until.astimezone(ZONE).date() - timedelta(days=days),
        days=days,
    )


def city_from(*, seed: int, units: int, anchor: date, days: int) -> City:
    """Make a city from its anchor, so that a later start makes the same one."""
    rng = np.random.default_rng([seed, units])
    stories = _stories(rng, units)
    homes = []
    for index in range(units):
        building, place = divmod(index, PER_BUILDING)
        entrance, door = divmod(place, PER_ENTRANCE)
        floor = door // PER_FLOOR + 1
        side = door % PER_FLOOR + 1
        begin, end = _span(rng, stories[index], anchor, days)
        homes.append(
            Home(
                index=index,
                building=str(building + 1).zfill(2),
                entrance=f"{building + 1:02d}-{entrance + 1}",
                unit=f"{building + 1:02d}-{entrance + 1}-{floor}{side:02d}",
                floor=floor,
                area_m2=float(rng.choice([38.0, 45.0, 58.0])),
                people=int(rng.choice([1, 2, 3, 4, 5], p=[0.2, 0.28, 0.32, 0.15, 0.05])),
                story=stories[index],
                from_day=begin,
                to_day=end,
                base_l=float(rng.uniform(55, 120)),
                standby_w=float(rng.uniform(16, 48)),
                works=bool(rng.random() < 0.7),
            )
        )
    return City(seed=seed, anchor=anchor, homes=homes)


def _stories(rng: np.random.Generator, units: int) -> list[Story]:
    stories = [Story.LIVED_IN] * units
    free = list(rng.permutation(units))
    for story, share in SHARES.items():
        for _ in range(max(1, round(share * units))):
            if free:
                stories[free.pop()] = story
    return stories


def _span(
    rng: np.random.Generator, story: Story, anchor: date, days: int
) -> tuple[date | None, date | None]:
    """Choose when a story begins and ends, as shares of the simulated past."""

    def at(low: float, high: float) -> date:
        return anchor + timedelta(days=int(days * rng.uniform(low, high)))

    if story is Story.LIVED_IN:
        return None, None
    if story is Story.UNLET:
        return anchor, None
    if story is Story.HOLIDAY:
        begin = at(0.1, 0.85)
        return begin, begin + timedelta(days=int(rng.integers(5, 24)))
    if story is Story.SILENT_METERS:
        begin = at(0.3, 0.6)
        return begin, begin + timedelta(days=int(rng.integers(20, 50)))
    if story in (Story.LEFT, Story.DECLARED_AWAY):
        return at(0.15, 0.75), None
    if story is Story.LEAK:
        return at(0.75, 0.95), None
    return at(0.2, 0.7), None
