"""A home has at most one fate, and its truth lies within the simulated days."""

from __future__ import annotations

from datetime import date

import numpy as np

from simulators.world.stories import begin_home
from simulators.world.violations import violate

DAYS = 300


def test_fates_are_rare_and_their_truth_lies_within_the_span() -> None:
    kinds = set()
    touched = 0
    for index in range(1500):
        home = begin_home(index, date(2025, 1, 1), DAYS, np.random.default_rng(index))
        violate(home)
        touched += bool(home.stories)
        for truth in home.truths:
            assert truth.start >= 0 and truth.end <= DAYS, (index, truth)
            kinds.add(truth.kind)
    assert 0.04 < touched / 1500 < 0.12
    assert {"subletting", "tenancy_ended"} <= kinds
