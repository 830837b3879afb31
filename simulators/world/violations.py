"""Violations of the tenancy, and other ends of it, drawn at most one a home.

Shares are guesses about the world, each from the notes' sources where there is one. Sublets are
0.35 % of homes, by a campaign of 50,000 visits. No share is made to suit a detector.
"""

from __future__ import annotations

import numpy as np

from simulators.world.people import Person, WorkPattern, spell
from simulators.world.stories import StoryHome, Truth

#: Some end within the year: so many begin that 0.35 % of homes are sublet at its end.
SUBLET_SHARE = 0.0042


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
    """Let others move in, and return them.

    They have tokens of their own, use the tenant's card, or a code that is nobody's.
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
