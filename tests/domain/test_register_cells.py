"""Cells: what is read, and what is refused with a word on how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import register_cells as cells


@pytest.mark.parametrize(
    ("read", "cell", "value"),
    [
        (cells.read_id, "gw-3", "gw-3"),
        (cells.read_text, "青年家园", "青年家园"),
        (cells.read_date, "2026/03/31", date(2026, 3, 31)),
        (cells.read_instant, "2026-03-31", datetime(2026, 3, 30, 16, tzinfo=UTC)),
        (cells.read_instant, "2026-03-31T08:00:00+08:00", datetime(2026, 3, 31, tzinfo=UTC)),
        (cells.read_integer, "-1000", -1000),
        (cells.read_number, "1e6", 1e6),
        (cells.read_time_zone, "Asia/Shanghai", "Asia/Shanghai"),
        (cells.one_of("a", "b"), "b", "b"),
    ],
)
def test_what_is_read(read: Callable[[str], Any], cell: str, value: object) -> None:
    assert read(cell) == value


@pytest.mark.parametrize(
    ("read", "cell", "mend"),
    [
        (cells.read_id, "GW 3", "lower-case letters"),
        (cells.read_text, "a\tb", "control characters"),
        (cells.read_text, "x" * 201, "at most 200"),
        (cells.read_date, "31.3.2026", "a date like"),
        (cells.read_instant, "yesterday", "an instant like"),
        (cells.read_integer, "1.5", "a whole number"),
        (cells.read_integer, "1000001", "between -1000 and 1000000"),
        (cells.read_number, "much", "a number"),
        (cells.read_number, "nan", "between 0 and 1000000"),
        (cells.read_time_zone, "Mars/Olympus", "a time zone like"),
        (cells.one_of("a", "b"), "c", "one of a, b"),
    ],
)
def test_what_is_refused(read: Callable[[str], Any], cell: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        read(cell)


@given(day=st.dates())
def test_a_date_is_read_as_it_is_written(day: date) -> None:
    assert cells.read_date(day.isoformat()) == day


@given(number=st.integers(-1000, 1_000_000))
def test_a_whole_number_is_read_as_it_is_written(number: int) -> None:
    assert cells.read_integer(str(number)) == number
