"""Page's sum over many units is the same as over each alone, and begins, is sure and ends where a
person would say so.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.episodes import OUTSIDE, Episode, find_episodes


def alone(row: list[float], fire: float, drop: float) -> list[tuple[int, int, int | None]]:
    """The law written for one unit, a day at a time."""
    found: list[tuple[int, int, int | None]] = []
    total = height = 0.0
    start, top = 0, 0
    sure: int | None = None
    for day, raw in enumerate(row):
        step = 0.0 if np.isnan(raw) else raw
        if total <= 0 and step > 0:
            start = day
        total = max(0.0, total + step)
        if total > height:
            height, top = total, day
        if sure is None and total >= fire:
            sure = day
        if sure is not None and total <= height - drop:
            found.append((start, sure, top))
            total = 0.0
        if total <= 0:
            height, sure = 0.0, None
    return found + ([(start, sure, None)] if sure is not None else [])


STEPS = st.sampled_from(
    [OUTSIDE, -2.0, -1.0, -0.5, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, float("nan")]
)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(st.lists(STEPS, min_size=20, max_size=20), min_size=1, max_size=5),
    st.sampled_from([1, 20]),
    st.sampled_from([(3.0, 2.0), (2.0, 4.0), (1.0, 1.0), (4.0, 0.5)]),
)
def test_many_units_are_judged_as_each_alone(
    rows: list[list[float]], times: int, limits: tuple[float, float]
) -> None:
    rows, (fire, drop) = rows * times, limits
    found = find_episodes(np.array(rows), fire=fire, drop=drop, rows=np.arange(10, 10 + len(rows)))
    for u, row in enumerate(rows):
        assert [(e.start, e.sure, e.last) for e in found if e.row == 10 + u] == alone(
            row, fire, drop
        )


def test_ten_times_a_tenth_is_one() -> None:
    (one,) = find_episodes(np.array([[0.7] * 10 + [-0.1] * 20]), fire=7.0, drop=2.0)
    assert (one.start, one.sure, one.last) == (0, 9, 9)


def test_silence_neither_begins_nor_ends_anything() -> None:
    row = [1.0] * 5 + [float("nan")] * 30 + [1.0]
    assert find_episodes(np.array([row]), fire=3.0, drop=2.0) == [
        Episode(row=0, start=0, sure=2, last=None, height=6.0)
    ]
    assert find_episodes(np.full((3, 40), np.nan), fire=0.5, drop=1.0) == []


def test_it_ends_on_the_last_day_that_spoke_for_it() -> None:
    (one,) = find_episodes(np.array([[-1.0] * 4 + [1.0] * 6 + [-1.0] * 5]), fire=3.0, drop=3.0)
    assert (one.start, one.sure, one.last) == (4, 6, 9)
