"""What hides the ground is known cell by cell; light hides nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.vision.cover import LEARN_PICTURES, RECALL_S, REMEMBER_S, Cover
from gateway.vision.ground import CELL

ROWS, COLUMNS = 120, 160
GRAIN = 100 + 10 * np.random.default_rng(1).normal(0, 1, (ROWS, COLUMNS))
THING = (slice(40, 80), slice(60, 120))
CELLS = tuple(slice(place.start // CELL, place.stop // CELL) for place in THING)
random = np.random.default_rng(2)


def log(scene: NDArray[np.float64]) -> NDArray[np.float32]:
    grey = np.clip(scene + random.integers(-2, 3, scene.shape), 0, 255).astype(np.uint8)
    return np.log(grey.astype(np.float32) + 6)


def covered() -> NDArray[np.float64]:
    scene = GRAIN.copy()
    scene[THING] = 40 + 20 * (np.indices((40, 60)).sum(0) % 14 < 6)
    return scene


def learnt(scene: NDArray[np.float64] = GRAIN) -> Cover:
    return Cover([log(scene) for _ in range(LEARN_PICTURES)])


def watch(cover: Cover, scene: NDArray[np.float64], looks: int, begin: float) -> NDArray[np.bool_]:
    """Look at a scene for a while, learn on; returns what is hidden at last."""
    hidden = np.zeros(cover.age.shape, bool)
    for n in range(looks):
        look = cover.observe(begin + n / 2, 0.5, log(scene))
        if look is not None:
            hidden = look.hidden
            cover.learn(look, None)
    return hidden


def test_a_thing_hides_its_cells_and_ages() -> None:
    cover = learnt()
    assert not watch(cover, GRAIN, 20, 20.0).any()
    hidden = watch(cover, covered(), 80, 30.0)
    assert hidden[CELLS].mean() > 0.75 and hidden.sum() < 1.5 * hidden[CELLS].sum()
    assert 30 < np.median(cover.age[CELLS]) <= 40
    assert not watch(cover, GRAIN, 60, 70.0).any() and not cover.age.any()


@pytest.mark.parametrize("light", [0.4, 1.7])
def test_light_hides_nothing_and_is_learnt_under_what_does(light: float) -> None:
    cover = learnt()
    watch(cover, covered(), 60, 20.0)
    before = cover.ground.level[CELLS].mean()
    hidden = watch(cover, covered() * light, 500, 50.0)
    assert hidden[CELLS].mean() > 0.9 and not hidden[:5].any() and not hidden[-5:].any()
    assert cover.ground.level[CELLS].mean() - before == pytest.approx(np.log(light), abs=0.15)


def test_what_burns_out_with_all_the_light_around_is_not_hidden() -> None:
    bright = GRAIN.copy()
    bright[THING] += 70
    cover = learnt(bright)
    hidden = watch(cover, np.minimum(bright * 1.6, 255), 200, 20.0)
    assert not hidden[CELLS].any()
    thing = GRAIN.copy()
    thing[THING] = 255
    cover = learnt()
    assert watch(cover, thing, 200, 20.0)[CELLS].mean() > 0.8, "but a white thing hides"


def test_a_sunlit_area_that_burns_out_and_moves_on_hides_nothing() -> None:
    def sunlit(n: int) -> NDArray[np.float64]:
        return np.where(np.arange(COLUMNS)[None, :] > 110 - 0.04 * n, 255.0, GRAIN)

    cover = Cover([log(sunlit(0)) for _ in range(LEARN_PICTURES)])
    oldest = 0.0
    for n in range(900):
        watch(cover, sunlit(n), 1, 20 + n / 2)
        oldest = max(oldest, float(cover.age.max()))
    assert oldest < 60


def test_ground_as_it_was_before_is_not_hidden() -> None:
    cover = learnt()
    watch(cover, GRAIN, 10, 20.0)
    # What was learnt since is wrong there, as an edge that crept leaves it.
    cover.ground.detail[THING] = np.random.default_rng(9).normal(0, 0.1, (40, 60))
    assert watch(cover, GRAIN, 2, 25.0)[CELLS].any()
    hidden = watch(cover, GRAIN, int(2 * RECALL_S) + 8, 26.0)
    assert not hidden.any()
    # It is remembered for some time, not for ever.
    for n in range(8):
        watch(cover, GRAIN, 2, 60.0 + n * REMEMBER_S)
    assert len(cover.ground.earlier) == cover.ground.earlier.maxlen


def aged() -> Cover:
    cover = learnt()
    watch(cover, white(), 80, 20.0)
    assert np.median(cover.age[CELLS]) > 30
    return cover


def white() -> NDArray[np.float64]:
    scene = GRAIN.copy()
    scene[THING] = 270
    return scene


@pytest.mark.parametrize(("afterwards", "counts"), [(white, True), (covered, False)])
def test_headlights_that_burn_it_out_count_for_an_age_if_the_same_is_there_afterwards(
    afterwards: Callable[[], NDArray[np.float64]], counts: bool
) -> None:
    cover = aged()
    before = np.median(cover.age[CELLS])
    y, x = np.indices(GRAIN.shape)
    watch(cover, white() + 250 * np.exp(-((y - 60) ** 2 + (x - 90) ** 2) / (2 * 60.0**2)), 20, 60.0)
    assert np.median(cover.age[CELLS]) <= before + 2
    watch(cover, afterwards(), 40, 70.0)
    after = np.median(cover.age[CELLS])
    assert (before + 28 <= after <= before + 31) if counts else (before < after < before + 24)
    assert (np.median(cover.became[CELLS]) > 70) != counts
    watch(cover, GRAIN, 80, 90.0)
    assert not cover.age.any(), "what has left has left"


def test_a_flat_thing_that_becomes_another_is_seen_to() -> None:
    cover = learnt()
    for grey, begin in ((55, 20.0), (200, 60.0)):
        scene = GRAIN.copy()
        scene[THING] = grey
        watch(cover, scene, 80, begin)
    assert 60 < np.median(cover.became[CELLS]) < 80 and np.median(cover.age[CELLS]) > 60


def test_ground_that_shows_only_on_the_average_of_passers_by_ends_no_age() -> None:
    cover = aged()
    before = np.median(cover.age[CELLS])
    stripes = np.zeros_like(GRAIN)
    stripes[THING] = 80 * np.where(np.indices(GRAIN.shape).sum(0) % 14 < 7, 1, -1)[THING]
    for n in range(20):
        watch(cover, GRAIN + stripes * (-1) ** n, 1, 60 + n / 2)
    assert np.median(cover.age[CELLS]) >= before
