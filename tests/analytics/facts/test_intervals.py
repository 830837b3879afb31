"""The rules of intervals: nothing negative, nothing that the pipe could not carry, nothing lost of
a sound register; and they are local.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytics.facts.columns import DoorDays, FactSources, combine, to_rows
from analytics.facts.intervals import REACH, Intervals, Quality, RegisterLimits, to_intervals
from analytics.facts.supply_days import Samples, SeriesRules, SupplyDays, share_over_days
from analytics.frame import runs
from store.series.passages import CarDays, TokenDays

HOUR = 3_600_000.0


def differenced(
    values: list[float], hours: list[float] | None = None, rollover: float = np.inf
) -> Intervals:
    at = np.array(hours if hours is not None else range(len(values)), dtype=float) * HOUR
    bounds = RegisterLimits(
        max_rate=np.array([5.0]), resolution=np.array([0.001]), rollover=np.array([rollover])
    )
    return to_intervals(
        np.zeros(len(values), dtype=np.int64), at, np.array(values, dtype=float), bounds
    )


@pytest.mark.parametrize(
    ("values", "deltas", "qualities"),
    [
        ([10, 10.1, 10.1, 10.4], [0.1, 0.0, 0.3], [0, 0, 0]),
        # A register that falls by 248,520 litres and is back at once was misread.
        ([300, 300.1, 51.58, 300.2, 300.3], [0.1, 0.1, 0.1], [0, 0, 0]),
        ([300, 300.1, 548.62, 300.2], [0.1, 0.1], [0, 0]),
        # It falls and stays: reset or swapped. What was used between is not known.
        ([300, 300.1, 0.0, 0.2], [0.1, None, 0.2], [0, 2, 0]),
        # It jumps and stays: nothing is known of the jump.
        ([10, 10.1, 258.62, 258.7], [0.1, None, 0.08], [0, 3, 0]),
        # Backflow of a few litres that recovers.
        ([10, 9.995, 9.998, 10.001], [0.001], [0]),
    ],
)
def test_meters_misbehave(
    values: list[float], deltas: list[float | None], qualities: list[int]
) -> None:
    found = differenced(values)
    assert [None if np.isnan(d) else round(float(d), 6) for d in found.delta] == deltas
    assert found.quality.tolist() == qualities


def test_a_rollover_is_told_from_a_reset() -> None:
    found = differenced([99999.8, 99999.95, 0.1], rollover=100000.0)
    assert (
        found.quality.tolist() == [Quality.OK, Quality.ROLLOVER]
        and round(float(found.delta[1]), 6) == 0.15
    )
    assert differenced([50000.0, 50000.1, 0.1], rollover=100000.0).quality.tolist() == [
        Quality.OK,
        Quality.RESET,
    ]


def test_a_jump_across_a_gap_is_not_what_a_household_used() -> None:
    assert differenced([10.0, 258.52], hours=[0, 50]).quality.tolist() == [Quality.IMPLAUSIBLE]
    assert differenced([10.0, 16.0], hours=[0, 50]).quality.tolist() == [Quality.OK]


series = st.lists(
    st.tuples(st.floats(0.02, 60), st.one_of(st.floats(0, 4), st.floats(-400, 400))),
    min_size=2,
    max_size=40,
)


def as_series(steps: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    hours, values = np.cumsum([h for h, _ in steps]), np.cumsum([v for _, v in steps])
    return hours.tolist(), (values - min(values.min(), 0)).tolist()


@given(series)
def test_never_negative_never_more_than_the_pipe_carries(steps: list[tuple[float, float]]) -> None:
    hours, values = as_series(steps)
    found = differenced(values, hours)
    known = found.delta[~np.isnan(found.delta)]
    span = (found.end - found.start)[~np.isnan(found.delta)] / HOUR
    assert (known >= 0).all() and (known <= 5.0 * np.maximum(span, 1 / 60) + 0.0011).all()
    assert (found.end > found.start).all()
    assert len(found) + len(found.misread_at) == len(values) - 1


@given(st.lists(st.tuples(st.floats(0.02, 2), st.floats(0, 0.05)), min_size=2, max_size=40))
def test_of_a_sound_register_nothing_is_lost(steps: list[tuple[float, float]]) -> None:
    hours, values = as_series(steps)
    found = differenced(values, hours)
    assert not len(found.misread_at) and abs(found.delta.sum() - (values[-1] - values[0])) < 1e-6


@given(series, st.integers(0, 39), st.integers(1, 10))
def test_the_law_is_local(steps: list[tuple[float, float]], low: int, length: int) -> None:
    """What lies REACH readings away cannot change an interval.

    So a window with that context gives what the whole gives.
    """
    hours, values = as_series(steps)
    low = min(low, len(values) - 1)
    high = min(len(values), low + length)
    a, b = max(0, low - REACH), min(len(values), high + REACH)
    whole, part = differenced(values, hours), differenced(values[a:b], hours[a:b])

    def within(found: Intervals) -> list[tuple[float, float, float, int]]:
        return [
            (s, e, -1.0 if np.isnan(d) else d, q)
            for s, e, d, q in zip(
                found.start.tolist(),
                found.end.tolist(),
                found.delta.tolist(),
                found.quality.tolist(),
                strict=True,
            )
            if s >= hours[low] * HOUR and e <= hours[high - 1] * HOUR
        ]

    assert within(whole) == within(part)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def shared(
    intervals: Intervals, at: list[float], starts: NDArray[np.float64], *, trickle: float
) -> SupplyDays:
    """Share the intervals of one register over days."""
    rules = SeriesRules(
        unit=ints(0), trickle=np.array([trickle]), observed_ms=np.array([3.0 * HOUR])
    )
    samples = Samples(unit=np.zeros(len(at), dtype=np.int64), at=np.array(at) * HOUR)
    return share_over_days(intervals, rules, samples, 1, starts)


NOBODY = TokenDays(
    unit=ints(),
    day=ints(),
    person_kind=ints(),
    token=ints(),
    entries=ints(),
    exits=ints(),
    night=ints(),
    lent=ints(),
)
NO_DOORS = DoorDays(unit=ints(), day=ints())
NO_CARS = CarDays(unit=ints(), day=ints(), seen=ints(), nights=ints())


@given(series)
def test_days_add_up_to_what_the_intervals_hold(steps: list[tuple[float, float]]) -> None:
    hours, values = as_series(steps)
    found = differenced(values, hours)
    starts = np.arange(0, 24 * 110, 24) * HOUR
    days = shared(found, hours, starts, trickle=0.002)
    assert abs(np.nansum(days.amount) - np.nansum(found.delta)) < 1e-6
    assert (
        (days.cover <= 1.0).all() and (days.cover >= 0).all() and days.samples.sum() == len(values)
    )
    used = days.first_use[~np.isnan(days.first_use)]
    assert (used < days.last_use[~np.isnan(days.last_use)]).all()
    sources = FactSources(
        water=days,
        energy=days,
        people=NOBODY,
        doors=NO_DOORS,
        cars=CarDays(unit=ints(0), day=ints(0), seen=ints(1), nights=ints(1)),
    )
    rows = to_rows(np.array([7], dtype=np.int32), 100, combine(sources))
    assert (
        not (rows.columns["water_l"] < 0).any()
        and set(rows.unit.tolist()) <= {7}
        and (rows.day >= 100).all()
    )
    assert np.isnan(rows.columns["entries"]).all()
    # A day on which only the gate said something is known, too.
    assert (
        rows.columns["cars_seen"][rows.day == 100],
        rows.columns["cars_nights"][rows.day == 100],
    ) == ([1.0], [1.0])
    assert np.isnan(rows.columns["cars_seen"][rows.day > 100]).all()


def test_who_came_is_counted_by_day_and_packed_into_tokens() -> None:
    """Two residents, a stranger who slept there, and a passage without a token on the first day.

    Nobody came on the second; nothing is known of the third.
    """
    starts = 24 * HOUR * np.arange(4.0)
    supply = shared(differenced([]), [], starts, trickle=0.0)
    people = TokenDays(
        unit=ints(0, 0, 0, 0),
        day=ints(0, 0, 0, 0),
        person_kind=ints(0, 3, 1, 1),
        token=ints(800, 1600, -2400, 0),
        entries=ints(1, 2, 1, 1),
        exits=ints(0, 1, 1, 0),
        night=ints(1, 0, 1, 0),
        lent=ints(0, 0, 2, 0),
    )
    doors = DoorDays(unit=ints(0, 0), day=ints(0, 1))
    found = combine(
        FactSources(water=supply, energy=supply, people=people, doors=doors, cars=NO_CARS)
    )
    seen = {
        name: found.columns[name][0].tolist()
        for name in (
            "entries",
            "exits",
            "residents_seen",
            "strangers_seen",
            "residents_nights",
            "strangers_nights",
            "lent_passages",
        )
    }
    assert {name: row[:2] for name, row in seen.items()} == {
        "entries": [5, 0],
        "exits": [2, 0],
        "residents_seen": [2, 0],
        "strangers_seen": [1, 0],
        "residents_nights": [1, 0],
        "strangers_nights": [1, 0],
        "lent_passages": [2, 0],
    }
    assert all(np.isnan(row[2]) for row in seen.values())
    assert [(t & ~7, t >> 1 & 3, t & 1) for t in found.token.tolist()] == [
        (800, 0, 1),
        (1600, 3, 0),
        (-2400, 1, 1),
    ]


def test_runs() -> None:
    assert (
        runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
        and runs(np.array([False])) == []
    )
