"""The camera benchmark.

Its intervals are the published ones, and a small run finds what is there.
"""

from __future__ import annotations

import pytest

from anju.bench.vision import (
    UNSEEN_SEEDS_FROM,
    Scene,
    binomial_interval,
    falling_scene,
    lane_scene,
    poisson_interval,
    speed,
    summary,
)


def test_intervals_are_the_exact_ones() -> None:
    # Clopper-Pearson of 95 in 100, and of 0 in 10; Garwood of 0 and of 3 (tables of both).
    assert binomial_interval(95, 100) == pytest.approx((0.8872, 0.9836), abs=2e-4)
    assert binomial_interval(0, 10) == pytest.approx((0.0, 0.3085), abs=2e-4)
    assert poisson_interval(0) == pytest.approx((0.0, 3.689), abs=2e-3)
    assert poisson_interval(3) == pytest.approx((0.619, 8.767), abs=2e-3)


def test_scenes_add_up() -> None:
    scenes = [
        Scene(seed=1, true=2, found=2, false=0, seconds=60),
        Scene(seed=2, true=1, found=0, false=1, seconds=60, left=1),
    ]
    found = summary(scenes, 86_400.0)
    assert (
        found["recall"] == 2 / 3
        and found["false_rate"] == pytest.approx(720)
        and [one.seed for one in scenes if one.odd] == [2]
    )


@pytest.mark.long
def test_a_few_held_out_scenes() -> None:
    falls = [falling_scene(UNSEEN_SEEDS_FROM + 500 + n, 40.0) for n in range(6)]
    lanes = [lane_scene(UNSEEN_SEEDS_FROM + 500 + n, 480.0) for n in range(4)]
    assert (
        sum(one.found for one in falls) >= sum(one.true for one in falls) - 1
        and sum(one.false for one in falls) == 0
    )
    assert (
        sum(one.found for one in lanes) >= sum(one.true for one in lanes) - 1
        and sum(one.false for one in lanes) <= 1
    )
    assert set(speed(rounds=1, seconds=2.0)) == {"decoding only", "fire lane", "falling object"}
