"""Ordinary lives break no rule, and are the same for the same seed."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from simulators.world.everyday import live_ordinarily
from simulators.world.stories import StoryHome, begin_home

DAYS = 300


def home(seed: int) -> StoryHome:
    made = begin_home(seed, date(2025, 1, 1), DAYS, np.random.default_rng(seed))
    live_ordinarily(made)
    return made


@pytest.mark.parametrize("seed", range(20))
def test_an_ordinary_life_is_no_violation(seed: int) -> None:
    made = home(seed)
    assert made.truths == [] and len(made.tenancies) == 1
    assert all(person.here.shape == (DAYS,) for person in made.people)


def test_the_same_seed_gives_the_same_life() -> None:
    first = home(7)
    second = home(7)
    assert first.stories == second.stories
    for one, other in zip(first.people, second.people, strict=True):
        assert one.token == other.token and np.array_equal(one.here, other.here)
