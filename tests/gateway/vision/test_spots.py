"""A spot is what is new in a picture beside the two before it."""

from __future__ import annotations

import numpy as np

from gateway.vision.spots import SpotFinder

SHAPE = (180, 320)


def wall(x: int | None = None) -> np.ndarray:
    """A grey wall, with a bright square of six pixels whose left edge is at column `x`."""
    picture = np.full(SHAPE, 100, np.uint8)
    if x is not None:
        picture[90:96, x : x + 6] = 220
    return picture


def test_what_is_new_in_the_third_picture_is_a_spot() -> None:
    finder = SpotFinder()
    assert len(finder.find(wall())) == 0 and len(finder.find(wall())) == 0
    ((x, y, width, _),) = finder.find(wall(150))
    assert abs(x - 152.5) < 1 and abs(y - 92.5) < 1 and 4 < width < 12


def test_what_stays_is_no_spot() -> None:
    finder = SpotFinder()
    for _ in range(3):
        found = finder.find(wall(150))
    assert len(found) == 0


def test_nothing_is_found_outside_or_after_a_gap() -> None:
    inside = np.zeros(SHAPE, np.uint8)
    inside[:, :100] = 1
    finder = SpotFinder(inside)
    finder.find(wall())
    finder.find(wall())
    assert len(finder.find(wall(150))) == 0, "outside"
    finder.forget_pictures()
    assert len(finder.find(wall(50))) == 0, "no two pictures before it"
