"""Periods overlap alike from both sides, and those that only touch do not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.periods import Period, overlapping

DAY = date(2026, 3, 1)


def period(start: int, length: int | None) -> Period:
    begin = DAY + timedelta(days=start)
    return Period(start=begin, end=None if length is None else begin + timedelta(days=length))


periods = st.builds(period, st.integers(0, 40), st.none() | st.integers(1, 20))


def days(of: Period) -> set[date]:
    """The days of a period within the next hundred."""
    every = {DAY + timedelta(days=n) for n in range(100)}
    return {day for day in every if of.start <= day and (of.end is None or day < of.end)}


@given(periods, periods)
def test_periods_overlap_where_they_share_a_day(first: Period, second: Period) -> None:
    assert first.overlaps(second) == second.overlaps(first) == bool(days(first) & days(second))


def test_periods_that_touch_do_not_overlap() -> None:
    assert not period(0, 5).overlaps(period(5, 5))
    assert period(0, None).overlaps(period(5, None))


@dataclass(frozen=True)
class Stay:
    period: Period


@given(periods, st.lists(st.builds(Stay, periods), max_size=8))
def test_candidates_stay_in_their_order(wanted: Period, stays: list[Stay]) -> None:
    assert overlapping(wanted, stays) == [stay for stay in stays if stay.period.overlaps(wanted)]
