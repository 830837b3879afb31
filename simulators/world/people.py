"""How people live: who sleeps where, who is at home in which hour, and what doors see of them.

A person is a row of days; everything is drawn from the home's own generator, so a home is the same
whoever else is simulated. Door logs are what they are in life: people walk in behind others, few
doors log the way out, children carry no card.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.bool_]


class WorkPattern(StrEnum):
    """How a person's day goes."""

    DAY = "day"
    NIGHT = "night"
    SCHOOL = "school"
    HOME = "home"
    BEDRIDDEN = "bedridden"


@dataclass(slots=True, kw_only=True)
class Person:
    """Someone who is at the home on some nights.

    `here` says of each day whether they sleep there. `token` is what doors send of them, None where
    they open with a code that is nobody's; `card` is somebody else's token that they use.
    `known_from` and `known_to` bound the days of their registration (None: never).
    """

    token: str | None
    here: Days
    work: WorkPattern
    role: str = "member"
    known_from: int | None = None
    known_to: int | None = None
    card: str | None = None
    carries: float = 0.8
    #: Calls only by day: comes and goes, and sleeps elsewhere.
    caller: bool = False
    unseen: Days | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passages:
    """One person's passages of the door on each day, in hours of shape (days, 4).

    The columns are out, in, out again, in again. `ways` are what happened, `hours` what the door
    logged of it; NaN where there is nothing.
    """

    person: Person
    ways: NDArray[np.float64]
    hours: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Car:
    """A registered car, and when the yard's gate read its plate.

    `hours` has the shape (days, 4): out, in, out, in; NaN where it was not read.
    """

    token: str
    household: str
    hours: NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class Household:
    """The people of a home.

    `at_home` counts the persons at home, of shape (days, 24).
    """

    people: list[Person]
    at_home: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    passages: list[Passages] = field(default_factory=list)


def weekdays(first: date, days: int) -> NDArray[np.int64]:
    """Return the weekday of each day, Monday 0."""
    return (first.weekday() + np.arange(days)) % 7


def live(
    people: list[Person],
    first: date,
    days: int,
    rng: np.random.Generator,
    *,
    logs_out: float,
    logs_in: float,
) -> Household:
    """Let people live for some days.

    `logs_out` and `logs_in` are the shares of passages that the door logs of somebody with a token.
    """
    home = Household(people=people, at_home=np.zeros((days, 24), dtype=np.float32))
    weekend = weekdays(first, days) >= 5
    hour = np.arange(24) + 0.5
    for person in people:
        out, back, again, late = _outings(person, weekend, rng)
        away = (hour > out[:, None]) & (hour < back[:, None]) | (hour > again[:, None]) & (
            hour < late[:, None]
        )
        if person.work is WorkPattern.NIGHT:
            away = (hour > out[:, None]) | (hour < back[:, None])
        if person.caller:
            inside = (hour > back[:, None]) & (hour < again[:, None])
            home.at_home += np.where(person.here[:, None] & inside, 0.5, 0.0).astype(np.float32)
        else:
            home.at_home += (person.here[:, None] & ~away).astype(np.float32)
        home.passages.append(_seen(person, (out, back, again, late), rng, logs_out, logs_in))
    return home


def _outings(
    person: Person, weekend: Days, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Draw when a person leaves and comes back, up to twice a day; NaN where not."""
    days = len(weekend)
    nothing = np.full(days, np.nan)
    if person.caller:
        came = rng.normal(14.0, 2.5, days).clip(8, 18)
        return nothing, came, came + rng.gamma(2.0, 0.8, days), nothing
    share = {
        WorkPattern.DAY: (0.96, 0.65),
        WorkPattern.NIGHT: (0.75, 0.4),
        WorkPattern.SCHOOL: (0.97, 0.5),
        WorkPattern.HOME: (0.6, 0.6),
        WorkPattern.BEDRIDDEN: (0.01, 0.0),
    }
    on_workday, on_weekend = share[person.work]
    goes = rng.random(days) < np.where(weekend, on_weekend, on_workday)
    if person.work is WorkPattern.NIGHT:
        out = rng.normal(20.5, 0.6, days)
        back = rng.normal(7.2, 0.5, days)
        return np.where(goes, out, np.nan), np.where(goes, back, np.nan), nothing, nothing
    start = {
        WorkPattern.DAY: 7.7,
        WorkPattern.SCHOOL: 7.4,
        WorkPattern.HOME: 9.0,
        WorkPattern.BEDRIDDEN: 10.0,
    }[person.work]
    long = {
        WorkPattern.DAY: 10.2,
        WorkPattern.SCHOOL: 9.3,
        WorkPattern.HOME: 2.2,
        WorkPattern.BEDRIDDEN: 1.5,
    }[person.work]
    out = np.where(weekend, rng.normal(9.8, 1.4, days), rng.normal(start, 0.6, days)).clip(
        5.0, 20.0
    )
    back = out + np.where(
        weekend, rng.gamma(3.0, 1.5, days), np.maximum(rng.normal(long, 1.2, days), 0.4)
    )
    out = np.where(goes, out, np.nan)
    back = np.where(goes, back.clip(0, 23.6), np.nan)
    twice = goes & (rng.random(days) < 0.3) & (back < 20.5)
    again = back + rng.gamma(2.0, 0.5, days) + 0.3
    late = np.minimum(again + rng.gamma(2.0, 0.5, days) + 0.2, 23.8)
    # Who would go out again at midnight stays at home.
    twice &= again < 23.3
    again = np.where(twice, again, np.nan)
    late = np.where(twice, late, np.nan)
    return out, back, again, late


def _seen(
    person: Person,
    hours: tuple[NDArray[np.float64], ...],
    rng: np.random.Generator,
    logs_out: float,
    logs_in: float,
) -> Passages:
    """Return what the door logs of a person's outings.

    Exits are logged seldom, entries where the person opens the door and does not follow others.
    """
    table = np.stack(hours, axis=1)
    chance = np.array([logs_out, logs_in, logs_out, logs_in]) * person.carries
    if person.caller:
        # A caller rings: the log shows them once.
        chance = np.array([0.0, 0.5 * logs_in, 0.5 * logs_out, 0.0])
    logged = rng.random(table.shape) < chance
    present = person.here.copy()
    # Who comes home tonight was not there this morning, and the other way round.
    was = np.r_[person.here[:1], person.here[:-1]]
    comes = person.here & ~was
    goes = ~person.here & was
    if not person.caller:
        table[comes, 0] = np.nan
        table[comes, 1] = np.where(np.isnan(table[comes, 1]), 17.0, table[comes, 1])
        logged[comes, 1] = rng.random(int(comes.sum())) < logs_in * person.carries
        table[goes] = np.nan
        table[goes, 0] = rng.uniform(8, 15, int(goes.sum()))
        logged[goes, 0] = rng.random(int(goes.sum())) < logs_out * person.carries
        present |= goes
    logged &= present[:, None]
    if person.unseen is not None:
        logged &= ~person.unseen[:, None]
    ways = np.where(present[:, None], table, np.nan)
    return Passages(person=person, ways=ways, hours=np.where(logged, table, np.nan))


def spell(days: int, start: int, end: int) -> Days:
    """Return the days [start, end) as a mask."""
    mask = np.zeros(days, dtype=bool)
    mask[max(0, start) : max(0, end)] = True
    return mask


#: The first day of the lunar year, by year (Hong Kong Observatory's conversion table).
SPRING_FESTIVAL = {
    2023: date(2023, 1, 22),
    2024: date(2024, 2, 10),
    2025: date(2025, 1, 29),
    2026: date(2026, 2, 17),
    2027: date(2027, 2, 6),
    2028: date(2028, 1, 26),
}


def festivals(first: date, days: int) -> list[int]:
    """Return the columns of the Spring Festivals that fall into a span."""
    return [n for day in SPRING_FESTIVAL.values() if 0 <= (n := (day - first).days) < days]


def term_time(first: date, days: int) -> Days:
    """Return the days on which students are at their university, of shape (days,).

    Term is September to mid January, and March to June.
    """
    months = [(first + timedelta(days=i)) for i in range(days)]
    return np.array(
        [d.month in (9, 10, 11, 12, 3, 4, 5, 6) or (d.month == 1 and d.day < 15) for d in months]
    )
