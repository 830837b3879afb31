"""What befalls homes: ordinary lives with all their oddities, violations of several kinds, and
those who hide them.

Shares are guesses about the world, each from the sources in the notes where there is one (0.35 %
sublets: a campaign of 50,000 visits); they are not made to suit anybody's detector. Every story
says what is true of the home, from which day to which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

from simulators.world.people import Car, Person, WorkPattern, festivals, spell, term_time, weekdays

#: Some end within the year: so many begin that 0.35 % of homes are sublet at its end.
SUBLET_SHARE = 0.0042


@dataclass(slots=True, kw_only=True)
class Truth:
    """What is true of a home over the days [start, end)."""

    kind: str
    start: int
    end: int
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class StoryHome:
    """One dwelling with its people, its papers and its devices' fates; days are columns, ends are
    exclusive, None is open.
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


# Ordinary lives ------------------------------------------------------------------------------------------------------


def ordinary(home: StoryHome) -> None:
    """Let ordinary things happen, each by its own chance."""
    rng = home.rng
    days = home.days
    for column in festivals(home.first, days):
        if rng.random() < 0.4:
            _leave(home, column - int(rng.integers(2, 9)), column + int(rng.integers(4, 13)))
        elif rng.random() < 0.25:
            for n in range(int(rng.integers(1, 5))):
                home.stranger(
                    f"cny{n}",
                    spell(days, column - int(rng.integers(0, 3)), column + int(rng.integers(3, 8))),
                    WorkPattern.HOME,
                )
    for chance, low, high in ((0.3, 4, 9), (0.25, 5, 17), (0.1, 10, 26)):
        if rng.random() < chance:
            start = int(rng.integers(0, days))
            _leave(home, start, start + int(rng.integers(low, high)))
    for person in home.people:
        for _ in range(rng.poisson(1.5)):
            start = int(rng.integers(0, days))
            person.here &= ~spell(days, start, start + int(rng.integers(1, 6)))
    for chance, story in _ODDITIES:
        if rng.random() < chance:
            home.stories.append(story.__name__.strip("_"))
            story(home)


def _leave(home: StoryHome, start: int, end: int) -> None:
    away = spell(home.days, start, end)
    for person in home.people:
        person.here &= ~away


def _weekends_elsewhere(home: StoryHome) -> None:
    weekend = np.isin(weekdays(home.first, home.days), (4, 5))
    for person in home.people:
        person.here &= ~weekend


def _weekdays_elsewhere(home: StoryHome) -> None:
    week = np.isin(weekdays(home.first, home.days), (0, 1, 2, 3, 6))
    for person in home.people:
        person.here &= ~week


def _hospital(home: StoryHome) -> None:
    person = home.people[int(home.rng.integers(len(home.people)))]
    start = int(home.rng.integers(0, home.days))
    person.here &= ~spell(home.days, start, start + int(home.rng.integers(8, 50)))


def _student(home: StoryHome) -> None:
    if len(home.people) >= 3:
        home.people[-1].here &= ~term_time(home.first, home.days)


def _carer(home: StoryHome) -> None:
    start = int(home.rng.integers(-100, home.days))
    stay = spell(home.days, start, start + int(home.rng.integers(60, 300)))
    patient = home.people[0]
    if home.rng.random() < 0.5:
        patient.work = WorkPattern.BEDRIDDEN
    carer = home.stranger(
        "carer",
        stay & (home.rng.random(home.days) < 0.9),
        WorkPattern.HOME,
        role="carer",
        carries=0.9,
    )
    if home.rng.random() < 0.4:
        carer.known_from = start + int(home.rng.integers(0, 60))


def _newborn(home: StoryHome) -> None:
    start = int(home.rng.integers(-30, home.days))
    stay = spell(home.days, start, start + int(home.rng.integers(30, 130)))
    home.stranger("grandmother", stay, WorkPattern.HOME, carries=0.6)
    home.new_ways = (start, 1.25, 1.2)


def _partner(home: StoryHome) -> None:
    start = int(home.rng.integers(-60, home.days))
    often = home.rng.random(home.days) < np.clip((np.arange(home.days) - start) / 120, 0.1, 0.95)
    partner = home.stranger("partner", spell(home.days, start, home.days) & often)
    if home.rng.random() < 0.4:
        partner.known_from = start + int(home.rng.integers(30, 200))


def _weekend_guests(home: StoryHome) -> None:
    often = (weekdays(home.first, home.days) == 5) & (home.rng.random(home.days) < 0.6)
    for n in range(int(home.rng.integers(1, 3))):
        home.stranger(f"weekend{n}", often, WorkPattern.HOME)


def _summer_guests(home: StoryHome) -> None:
    start = int(home.rng.integers(0, home.days))
    for n in range(int(home.rng.integers(1, 4))):
        home.stranger(
            f"summer{n}",
            spell(home.days, start, start + int(home.rng.integers(5, 26))),
            WorkPattern.HOME,
        )


def _helper(home: StoryHome) -> None:
    often = np.isin(
        weekdays(home.first, home.days),
        home.rng.choice(7, int(home.rng.integers(1, 5)), replace=False),
    )
    home.stranger("helper", often, WorkPattern.HOME, caller=True)


def _minding_grandparents(home: StoryHome) -> None:
    weekday = weekdays(home.first, home.days) < 5
    home.stranger(
        "nanny",
        weekday & (home.rng.random(home.days) < 0.9),
        WorkPattern.HOME,
        caller=True,
        carries=0.9,
    )


def _lost_card(home: StoryHome) -> None:
    start = int(home.rng.integers(0, home.days))
    person = home.people[int(home.rng.integers(len(home.people)))]
    person.unseen = spell(home.days, start, start + int(home.rng.integers(15, 120)))


def _new_ways(home: StoryHome) -> None:
    home.new_ways = (
        int(home.rng.integers(20, home.days)),
        float(home.rng.lognormal(0, 0.3)),
        float(home.rng.lognormal(0, 0.3)),
    )


def _moves_out_one(home: StoryHome) -> None:
    if len(home.people) >= 2:
        home.people[-1].here &= ~spell(home.days, int(home.rng.integers(0, home.days)), home.days)


_ODDITIES = (
    (0.04, _weekends_elsewhere),
    (0.02, _weekdays_elsewhere),
    (0.02, _hospital),
    (0.08, _student),
    (0.006, _carer),
    (0.012, _newborn),
    (0.012, _partner),
    (0.04, _weekend_guests),
    (0.05, _summer_guests),
    (0.06, _helper),
    (0.04, _minding_grandparents),
    (0.012, _lost_card),
    (0.03, _new_ways),
    (0.02, _moves_out_one),
)


def empty_spells(home: StoryHome) -> None:
    """Add to the truth where nobody slept there for thirty days or more while it was let and no
    absence was declared.
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


# Violations ----------------------------------------------------------------------------------------------------------


def violate(home: StoryHome) -> None:
    """Draw at most one violation, or another fate of the tenancy."""
    draw = home.rng.random()
    total = 0.0
    for share, story in _FATES:
        total += share
        if draw < total:
            home.stories.append(story.__name__.strip("_"))
            story(home)
            return


def _start(home: StoryHome, low: float = 0.05, high: float = 0.75) -> int:
    return int(home.days * home.rng.uniform(low, high))


def _gone(home: StoryHome, start: int, end: int) -> list[Person]:
    """Let everyone who is registered go; returns them."""
    mine = [p for p in home.people if p.known_from is not None]
    for person in home.people:
        person.here &= ~spell(home.days, start, end)
    return mine


def _tip(home: StoryHome, start: int) -> None:
    if home.rng.random() < 0.15:
        home.tips.append(
            (min(home.days - 1, start + int(home.rng.integers(20, 150))), "subletting")
        )


def _newcomers(home: StoryHome, start: int, end: int, count: int, tag: str) -> list[Person]:
    """Let others move in: with tokens of their own, with the tenant's card, or with a code that is
    nobody's.
    """
    rng = home.rng
    way = str(rng.choice(["own", "card", "code"], p=[0.7, 0.17, 0.13]))
    cards = [p.token for p in home.people if p.known_from is not None and p.token]
    found = []
    for n in range(count):
        here = spell(home.days, start, end) & (rng.random(home.days) < 0.96)
        person = home.stranger(
            f"{tag}{n}",
            here,
            WorkPattern(str(rng.choice(["day", "night", "home"], p=[0.8, 0.08, 0.12]))),
            carries=float(rng.beta(6, 2)),
        )
        if way == "card":
            person.card = cards[n % len(cards)]
        elif way == "code":
            person.token = None
        found.append(person)
    return found


def _end(home: StoryHome, start: int) -> int:
    return (
        home.days
        if home.rng.random() < 0.85
        else min(home.days, start + int(home.rng.integers(90, 220)))
    )


def _sublet_whole(home: StoryHome) -> None:
    start = _start(home)
    end = _end(home, start)
    mine = _gone(home, start, end)
    moved = start + int(home.rng.integers(0, 6))
    _newcomers(home, moved, end, int(home.rng.integers(1, 5)), "sub")
    # The tenant looks in for the rent and the mail.
    for day in range(start + 30, end, 30):
        if home.rng.random() < 0.6:
            mine[0].here[day : day + 1] = True
    home.truths.append(Truth(kind="subletting", start=moved, end=end, detail="whole"))
    home.new_ways = (moved, float(home.rng.lognormal(0, 0.35)), float(home.rng.lognormal(0, 0.35)))
    _tip(home, start)


def _sublet_rooms(home: StoryHome) -> None:
    start = _start(home)
    end = _end(home, start)
    if home.rng.random() < 0.4:
        _gone(home, start, end)
    else:
        for person in [p for p in home.people if p.known_from is not None][1:]:
            person.here &= ~spell(home.days, start, end)
    for n in range(int(home.rng.integers(2, 5))):
        _newcomers(home, start + n * int(home.rng.integers(0, 20)), end, 1, f"room{n}")
    home.truths.append(Truth(kind="subletting", start=start, end=end, detail="rooms"))
    _tip(home, start)


def _sublet_short(home: StoryHome) -> None:
    start = _start(home)
    end = _end(home, start)
    _gone(home, start, end)
    day = start + int(home.rng.integers(0, 4))
    n = 0
    code = home.rng.random() < 0.4
    while day < end:
        stay = int(home.rng.integers(1, 8))
        if home.rng.random() < 0.75:
            for guest in range(int(home.rng.integers(1, 5))):
                person = home.stranger(
                    f"g{n}-{guest}",
                    spell(home.days, day, min(end, day + stay)),
                    WorkPattern.HOME,
                    carries=0.9,
                )
                if code:
                    person.token = None
        day = day + stay + int(home.rng.integers(0, 3))
        n = n + 1
    home.truths.append(Truth(kind="subletting", start=start, end=end, detail="short"))
    _tip(home, start)


def _lent(home: StoryHome) -> None:
    start = _start(home)
    end = _end(home, start)
    mine = _gone(home, start, end)
    moved = start + int(home.rng.integers(0, 15))
    _newcomers(home, moved, end, int(home.rng.integers(1, 4)), "kin")
    for person in mine[:2]:
        person.here |= spell(home.days, start, end) & (home.rng.random(home.days) < 0.03)
    home.truths.append(Truth(kind="subletting", start=moved, end=end, detail="lent"))


def _left(home: StoryHome) -> None:
    start = _start(home, 0.05, 0.85)
    end = (
        home.days
        if home.rng.random() < 0.6
        else min(home.days, start + int(home.rng.integers(32, 250)))
    )
    mine = _gone(home, start, end)
    way = str(home.rng.choice(["none", "airing", "gamer", "mail"], p=[0.6, 0.17, 0.1, 0.13]))
    if way == "airing":
        for day in range(start + 20, end, int(home.rng.integers(20, 40))):
            home.taps.append((day, float(home.rng.uniform(5, 40))))
            _calls(home, mine[0], day)
    elif way == "gamer":
        for day in range(start + 5, end, 7):
            home.taps.append((day, float(home.rng.uniform(10, 50))))
            _calls(home, mine[0], day)
        home.lamp = (start, end)
    elif way == "mail":
        for day in range(start + 10, end, 12):
            _calls(home, mine[0], day)
    if home.rng.random() < 0.2:
        home.declared.append(("absence", start - 3, end, start - 3))
    home.stories.append(way)


def _calls(home: StoryHome, person: Person, day: int) -> None:
    """Let somebody look in for an hour."""
    if not any(p.caller and p.token == person.token for p in home.people):
        home.people.append(
            Person(
                token=person.token,
                here=np.zeros(home.days, dtype=bool),
                work=WorkPattern.HOME,
                caller=True,
                known_from=person.known_from,
                role=person.role,
                carries=0.9,
            )
        )
    next(p for p in home.people if p.caller and p.token == person.token).here[
        min(day, home.days - 1)
    ] = True


def _unlet(home: StoryHome) -> None:
    ended = -int(home.rng.integers(20, 500))
    home.tenancies = [(home.household, ended - 700, ended)] if home.rng.random() < 0.7 else []
    home.people = []
    draw = home.rng.random()
    if draw < 0.08:
        start = _start(home, 0.05, 0.8)
        end = min(home.days, start + int(home.rng.integers(40, 300)))
        for n in range(int(home.rng.integers(1, 4))):
            home.stranger(
                f"squat{n}",
                spell(home.days, start, end) & (home.rng.random(home.days) < 0.93),
                WorkPattern(str(home.rng.choice(["day", "home"]))),
            )
        home.truths.append(Truth(kind="unauthorised", start=start, end=end))
    elif draw < 0.25:
        start = _start(home, 0.0, 0.8)
        end = start + int(home.rng.integers(8, 30))
        home.works = (start, end)
        if home.rng.random() < 0.5:
            home.declared.append(("repair", start, end, start))
    elif draw < 0.45:
        start = _start(home, 0.1, 0.9)
        late = int(home.rng.integers(0, 6))
        for n in range(int(home.rng.integers(1, 5))):
            home.people.append(
                Person(
                    token=f"n-{home.index:06d}-{n}",
                    here=spell(home.days, start, home.days),
                    work=WorkPattern.DAY,
                    known_from=start + late,
                    role="member" if n else "tenant",
                )
            )
        home.tenancies.append((f"{home.household}-b", start + int(home.rng.integers(0, 3)), None))


def _ended(home: StoryHome) -> None:
    end = _start(home, 0.1, 0.8)
    home.tenancies = [(home.household, -900, end)]
    for person in home.people:
        if person.known_from is not None:
            person.known_to = end
    if home.rng.random() < 0.45:
        gone = min(home.days, end + int(home.rng.integers(40, 300)))
        home.truths.append(Truth(kind="tenancy_ended", start=end + 1, end=gone))
    else:
        gone = end + int(home.rng.integers(-8, 10))
    for person in home.people:
        person.here &= spell(home.days, 0, gone)
    if gone < home.days - 60 and home.rng.random() < 0.5:
        again = gone + int(home.rng.integers(15, 60))
        for n in range(int(home.rng.integers(1, 4))):
            home.people.append(
                Person(
                    token=f"n-{home.index:06d}-{n}",
                    here=spell(home.days, again, home.days),
                    work=WorkPattern.DAY,
                    known_from=again,
                    role="member" if n else "tenant",
                )
            )
        home.tenancies.append((f"{home.household}-b", again, None))


def _shop(home: StoryHome) -> None:
    start = _start(home)
    _gone(home, start, home.days)
    home.shop = (start, home.days)
    for n in range(int(home.rng.integers(8, 25))):
        home.stranger(
            f"customer{n}",
            spell(home.days, start, home.days) & (home.rng.random(home.days) < 0.4),
            WorkPattern.HOME,
            caller=True,
        )
    home.truths.append(Truth(kind="change_of_use", start=start, end=home.days, detail="shop"))


def _dormitory(home: StoryHome) -> None:
    start = _start(home)
    for n in range(int(home.rng.integers(5, 10))):
        home.stranger(
            f"bunk{n}",
            spell(home.days, start, home.days) & (home.rng.random(home.days) < 0.93),
            WorkPattern.DAY,
        )
    home.truths.append(Truth(kind="change_of_use", start=start, end=home.days, detail="dormitory"))


def _crowded(home: StoryHome) -> None:
    start = _start(home)
    for n in range(int(home.rng.integers(3, 5))):
        home.stranger(
            f"kin{n}",
            spell(home.days, start, home.days) & (home.rng.random(home.days) < 0.95),
            WorkPattern.HOME,
        )
    home.truths.append(Truth(kind="over_occupancy", start=start, end=home.days))


_FATES = (
    (SUBLET_SHARE * 0.42, _sublet_whole),
    (SUBLET_SHARE * 0.2, _sublet_rooms),
    (SUBLET_SHARE * 0.16, _sublet_short),
    (SUBLET_SHARE * 0.22, _lent),
    (0.025, _left),
    (0.03, _unlet),
    (0.012, _ended),
    (0.001, _shop),
    (0.0007, _dormitory),
    (0.0015, _crowded),
)
