"""Who lives where, and with which devices: estates of buildings of different fittings.

Some buildings have a lock at every flat and hourly meters, some only a lock, some a daily water
meter. A home is made on request, from the seed and its number alone, so a city may be larger than
memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np

from domain.calendar import DEFAULT_ZONE
from simulators.world.everyday import live_ordinarily
from simulators.world.people import Household, live, spell
from simulators.world.stories import StoryHome, begin_home, empty_spells
from simulators.world.violations import violate

ZONE = ZoneInfo(DEFAULT_ZONE)
PER_ENTRANCE = 12
PER_BUILDING = 48
PER_ESTATE = 1_968


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """What a building has.

    `water_min` and `energy_min` are minutes between readings; 0 is no such meter. `lock` is at each
    flat, `terminal` at each entrance. `logs_out` and `logs_in` are the shares of passages that they
    log.
    """

    name: str
    water_min: int
    energy_min: int
    lock: bool
    terminal: bool
    logs_out: float
    logs_in: float


FITTINGS: tuple[tuple[float, Fitting], ...] = (
    (
        0.34,
        Fitting(
            name="lock-and-meters",
            water_min=60,
            energy_min=60,
            lock=True,
            terminal=False,
            logs_out=0.15,
            logs_in=0.95,
        ),
    ),
    (
        0.13,
        Fitting(
            name="lock-both-ways",
            water_min=60,
            energy_min=60,
            lock=True,
            terminal=False,
            logs_out=0.85,
            logs_in=0.95,
        ),
    ),
    (
        0.26,
        Fitting(
            name="terminal-and-meters",
            water_min=60,
            energy_min=60,
            lock=False,
            terminal=True,
            logs_out=0.3,
            logs_in=0.7,
        ),
    ),
    (
        0.08,
        Fitting(
            name="water-only",
            water_min=60,
            energy_min=0,
            lock=False,
            terminal=False,
            logs_out=0.0,
            logs_in=0.0,
        ),
    ),
    (
        0.07,
        Fitting(
            name="daily-water-and-terminal",
            water_min=1440,
            energy_min=0,
            lock=False,
            terminal=True,
            logs_out=0.2,
            logs_in=0.7,
        ),
    ),
    (
        0.07,
        Fitting(
            name="power-and-terminal",
            water_min=0,
            energy_min=60,
            lock=False,
            terminal=True,
            logs_out=0.3,
            logs_in=0.7,
        ),
    ),
    (
        0.05,
        Fitting(
            name="lock-only",
            water_min=0,
            energy_min=0,
            lock=True,
            terminal=False,
            logs_out=0.2,
            logs_in=0.95,
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldCity:
    """A city of `units` homes over `days` days from `first`.

    With `normal` nobody does anything wrong and no meter fails.
    """

    seed: int
    units: int
    first: date
    days: int
    normal: bool = False

    def rng(self, *key: int) -> np.random.Generator:
        """Return the generator of one thing, whatever else was drawn before."""
        return np.random.default_rng([self.seed, *key])

    def fitting(self, index: int) -> Fitting:
        """Return what a home's building has."""
        draw = self.rng(1, self.block(index)).random()
        total = 0.0
        for share, fitting in FITTINGS:
            total += share
            if draw < total:
                return fitting
        return FITTINGS[-1][1]

    @staticmethod
    def block(index: int) -> int:
        """Number the building of a home in the whole city."""
        return index // PER_BUILDING

    def gated(self, index: int) -> bool:
        """Tell whether the yard of a home's building has a gate with a number-plate camera."""
        return bool(self.rng(8, self.block(index)).random() < 0.6)

    def home(self, index: int) -> StoryHome:
        """Make a home and all that happens to it."""
        home = begin_home(index, self.first, self.days, self.rng(2, index))
        live_ordinarily(home)
        if not self.normal:
            violate(home)
        empty_spells(home)
        return home

    def lived(self, home: StoryHome) -> Household:
        """Let a home be lived in."""
        fitting = self.fitting(home.index)
        household = live(
            home.people,
            self.first,
            self.days,
            self.rng(3, home.index),
            logs_out=fitting.logs_out,
            logs_in=fitting.logs_in,
        )
        if fitting.lock:
            for passages in household.passages:
                passages.hours[~self.powered(home.index)] = np.nan
        return household

    # Names ----------------------------------------------------------------------------------------

    @staticmethod
    def estate(index: int) -> str:
        """Name the estate of a home."""
        return f"world-{index // PER_ESTATE + 1:03d}"

    @staticmethod
    def building(index: int) -> str:
        """Name the building of a home within its estate."""
        return f"b{index % PER_ESTATE // PER_BUILDING + 1:02d}"

    @classmethod
    def entrance(cls, index: int) -> str:
        """Name the entrance of a home."""
        return f"{cls.building(index)}-{index % PER_ESTATE % PER_BUILDING // PER_ENTRANCE + 1}"

    @classmethod
    def unit(cls, index: int) -> str:
        """Name a home."""
        return f"{cls.entrance(index)}-{index % PER_ESTATE % PER_ENTRANCE + 1:02d}"

    def powered(self, index: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return the days on which a flat's lock has power, of shape (days,).

        While its battery is empty, people use a key.
        """
        rng = self.rng(5, index)
        alive = np.ones(self.days, dtype=bool)
        if not self.normal and rng.random() < 0.03:
            start = int(rng.integers(0, self.days))
            alive &= ~spell(self.days, start, start + int(rng.integers(3, 60)))
        return alive

    def outage(self, index: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return the days on which the gateway of a home's building was dead, of shape (days,).

        What it should have gathered then is lost.
        """
        rng = self.rng(4, self.block(index))
        dead = np.zeros(self.days, dtype=bool)
        for _ in range(rng.poisson(0.4 if not self.normal else 0.0)):
            start = int(rng.integers(0, self.days))
            dead |= spell(self.days, start, start + int(rng.integers(1, 22)))
        return dead
