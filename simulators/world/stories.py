"""Homes and what is true of them: who is registered, who sleeps there, what was declared.

What happens to a home is drawn in `everyday` and `violations`. Each story notes what is true of the
home, from which day to which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from simulators.world.people import Car, Person, WorkPattern, spell


@dataclass(slots=True, kw_only=True)
class Truth:
    """What is true of a home over the days [start, end)."""

    kind: str
    start: int
    end: int
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class StoryHome:
    """One dwelling with its people, its tenancies and its devices' fates.

    Days are columns, ends are exclusive, and None is open.
    """

    index: int
    days: int
    first: date
    rng: np.random.Generator
    people: list[Person] = field(default_factory=list)
    #: (household, from, to): a tenancy may begin before the first day.
    tenancies: list[tuple[str, int, int | None]] = field(default_factory=list)
    #: (kind, from, to, registered on)
    declared: list[tuple[str, int, int | None, int]] = field(default_factory=list)
    tips: list[tuple[int, str]] = field(default_factory=list)
    outside: list[tuple[int, str]] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)
    taps: list[tuple[int, float]] = field(default_factory=list)
    lamp: tuple[int, int] | None = None
    leak: tuple[int, int, float] | None = None
    works: tuple[int, int] | None = None
    shop: tuple[int, int] | None = None
    thrift: float = 1.0
    new_ways: tuple[int, float, float] | None = None
    car: Car | None = None
    stories: list[str] = field(default_factory=list)

    @property
    def household(self) -> str:
        """The token of the household that holds it first."""
        return f"h-{self.index:06d}"

    def stranger(
        self, name: str, here: Any, work: WorkPattern = WorkPattern.DAY, **more: Any
    ) -> Person:
        """Add somebody who is not registered."""
        person = Person(token=f"x-{self.index:06d}-{name}", here=here, work=work, **more)
        self.people.append(person)
        return person


def begin_home(index: int, first: date, days: int, rng: np.random.Generator) -> StoryHome:
    """Make a home with a household of its own."""
    home = StoryHome(
        index=index, first=first, days=days, rng=rng, thrift=float(rng.lognormal(0.0, 0.3))
    )
    count = int(rng.choice([1, 2, 3, 4, 5], p=[0.22, 0.28, 0.3, 0.15, 0.05]))
    old = rng.random() < 0.25
    for n in range(count):
        if old:
            work = WorkPattern.HOME if rng.random() < 0.9 else WorkPattern.BEDRIDDEN
        elif n < 2:
            work = WorkPattern(str(rng.choice(["day", "night", "home"], p=[0.78, 0.05, 0.17])))
        else:
            work = WorkPattern(str(rng.choice(["school", "home", "day"], p=[0.55, 0.3, 0.15])))
        child = n >= 2 and work in (WorkPattern.SCHOOL, WorkPattern.HOME)
        carries = float(rng.beta(2, 4)) if child else float(rng.beta(6, 2))
        home.people.append(
            Person(
                token=f"p-{index:06d}-{n}",
                here=np.ones(days, dtype=bool),
                work=work,
                role="member" if n else "tenant",
                known_from=-400,
                carries=carries,
            )
        )
    home.tenancies.append((home.household, -int(rng.integers(60, 1500)), None))
    return home


def empty_spells(home: StoryHome) -> None:
    """Add to the truth the spells of thirty days or more in which nobody slept there.

    Days without a tenancy or with a declared absence do not count.
    """
    slept = np.zeros(home.days, dtype=bool)
    for person in home.people:
        if not person.caller:
            slept |= person.here
    counts = np.zeros(home.days, dtype=bool)
    for _, start, end in home.tenancies:
        counts |= spell(home.days, start, home.days if end is None else end + 1)
    for kind, start, end, _ in home.declared:
        if kind in ("absence", "repair"):
            counts &= ~spell(home.days, start, home.days if end is None else end)
    empty = np.r_[False, counts & ~slept, False]
    starts = np.flatnonzero(~empty[:-1] & empty[1:])
    ends = np.flatnonzero(empty[:-1] & ~empty[1:])
    way = next((s for s in home.stories if s in ("airing", "gamer", "mail")), "")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if end - start >= 30 and home.shop is None:
            home.truths.append(Truth(kind="unoccupied", start=start, end=end, detail=way))
