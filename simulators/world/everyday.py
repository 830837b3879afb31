"""What happens in ordinary lives: holidays, guests, carers, students, lost cards.

None of it breaks a rule. The shares are guesses about the world.
"""

from __future__ import annotations

import numpy as np

from simulators.world.people import WorkPattern, festivals, spell, term_time, weekdays
from simulators.world.stories import StoryHome


def live_ordinarily(home: StoryHome) -> None:
    """Let ordinary things happen, each by its own chance."""
    rng = home.rng
    days = home.days
    for column in festivals(home.first, days):
        _spring_festival(home, column)
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


def _spring_festival(home: StoryHome, column: int) -> None:
    """Let the home travel, or have guests, around the festival's day."""
    rng = home.rng
    if rng.random() < 0.4:
        _leave(home, column - int(rng.integers(2, 9)), column + int(rng.integers(4, 13)))
    elif rng.random() < 0.25:
        for number in range(int(rng.integers(1, 5))):
            begin = column - int(rng.integers(0, 3))
            end = column + int(rng.integers(3, 8))
            home.stranger(f"cny{number}", spell(home.days, begin, end), WorkPattern.HOME)


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
