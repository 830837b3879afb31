"""Light moves a ground's grain up or down; a thing hides it, and has an outline."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.vision.ground import (
    CELL,
    Floats,
    detail_of,
    grain,
    level_of,
    per_cell,
    regions,
    shows_through,
    steepness,
)

SHAPE = (120, 160)
random = np.random.default_rng(11)
GROUND = np.asarray(np.log(np.clip(120 + 12 * random.normal(0, 1, SHAPE), 30, 220) + 6), np.float32)
VALID = np.ones(SHAPE, np.float32)
INNER = (slice(12, 18), slice(16, 24))


def seen(now: Floats, ground: Floats = GROUND) -> Floats:
    return shows_through(detail_of(now), detail_of(ground), VALID)[0]


@settings(deadline=None, max_examples=30)
@given(factor=st.floats(0.25, 3.0), edge=st.integers(30, 130), seed=st.integers(0, 99))
def test_grain_shows_through_any_light_with_any_edge(factor: float, edge: int, seed: int) -> None:
    lit = GROUND + np.random.default_rng(seed).normal(0, 0.01, SHAPE).astype(np.float32)
    lit[:, :edge] += np.float32(np.log(factor))
    assert np.median(seen(lit)) > 0.8 and (seen(lit) > 0.4).mean() > 0.9


@pytest.mark.parametrize("grey", [60.0, 120.0, 200.0])
def test_a_plain_thing_hides_it(grey: float) -> None:
    covered = GROUND.copy()
    covered[40:80, 56:104] = np.log(grey + 6) + random.normal(0, 0.01, (40, 48))
    assert np.abs(seen(covered)[INNER]).max() < 0.4 and seen(covered)[:6].min() > 0.8


def test_burnt_out_pixels_say_nothing() -> None:
    detail = detail_of(GROUND)
    assert (shows_through(detail, detail, np.zeros(SHAPE, np.float32))[0] == 0).all()
    flat = np.full(SHAPE, 5.0, np.float32)
    assert all(
        np.isfinite(one).all() for one in shows_through(detail_of(flat), detail_of(flat), VALID)
    )


def test_an_edge_beside_it_is_no_grain() -> None:
    kerb = np.full(SHAPE, 4.0, np.float32)
    kerb[:, 60:100] = 5.3
    rough = GROUND.copy()
    assert grain(detail_of(kerb))[:, 19:21].max() < 0.01 < 0.05 < grain(detail_of(rough)).min()


def test_an_outline_is_steep_nearly_everywhere_and_a_line_across_is_none() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[40:80, 56:104] = 1
    wide = np.zeros(SHAPE, np.uint8)
    wide[39:81, 55:105] = 1
    outline = wide > mask
    box, lines = (np.full(SHAPE, 4.7, np.float32) for _ in range(2))
    box[40:80, 56:104] = 4.2
    lines[45:48] = lines[70:73] = 5.3
    assert steepness(detail_of(box), mask, outline) > 2 * steepness(detail_of(lines), mask, outline)


def test_regions_are_thick_and_cells_are_small() -> None:
    cells = np.zeros((30, 40), bool)
    cells[3, 2:30] = True
    cells[10:16, 5:12] = True
    cells[12, 8] = False
    found = [region for _, region in regions(cells)]
    assert len(found) == 1 and found[0].sum() == 42, (
        "a thin one is an edge of light; a hole is filled"
    )
    assert per_cell(GROUND).shape == level_of(GROUND).shape == (SHAPE[0] // CELL, SHAPE[1] // CELL)
