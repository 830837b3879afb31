"""The fit finds what fell from where, and rows become metres."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.vision.ballistics import GRAVITY, Scale, best_fall
from gateway.vision.falling import FIT_M

ROWS, FPS = 720, 25


@given(
    terminal=st.floats(12, 120),
    begins=st.floats(-0.5, 0),
    apex=st.floats(8, 60),
    frames=st.integers(14, 40),
    noise=st.floats(0, 0.02),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_the_fit_finds_apex_and_law(
    terminal: float, begins: float, apex: float, frames: int, noise: float, seed: int
) -> None:
    t = np.arange(frames) / FPS
    fallen = terminal**2 / GRAVITY * np.log(np.cosh(GRAVITY * (t - begins) / terminal))
    h = apex - fallen + np.random.default_rng(seed).normal(0, noise, frames)
    found = best_fall(t, h, 100.0)
    # Terminal speeds above the highest that is fitted leave a centimetre.
    assert found is not None and found.rms_m < FIT_M / 4 + 2 * noise
    assert abs(found.apex_m - apex) < 1.0 + 60 * noise
    lower = best_fall(t, h, apex - 10)
    assert lower is None or lower.apex_m <= apex - 10, "an apex above the roof is no answer"


@given(
    marks=st.lists(st.floats(0.05, 0.95), min_size=2, max_size=6, unique=True),
    tilt=st.floats(0.2, 1.0),
)
@settings(deadline=None)
def test_rows_become_metres_and_scale_is_its_slope(marks: list[float], tilt: float) -> None:
    shares = np.array(sorted(marks))
    if np.diff(shares).min(initial=1) < 0.05:
        return
    pinhole = lambda y: (40 - 38 * y) / (1 + tilt * y)  # noqa: E731
    scale = Scale.through([(float(y), float(pinhole(y))) for y in shares], ROWS)
    y = shares * ROWS
    if len(shares) > 2:
        np.testing.assert_allclose(scale.metres(y), pinhole(shares), rtol=1e-4, atol=1e-3)
    slope = np.abs(scale.metres(y + 0.5) - scale.metres(y - 0.5))
    np.testing.assert_allclose(scale.pixels_per_metre(y), 1 / slope, rtol=1e-3)
