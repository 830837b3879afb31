"""Runs against a plain set: whatever the order and however often, they hold what was seen, and
nothing else.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain import sequence


@given(st.lists(st.integers(1, 60)))
def test_runs_hold_what_was_seen(numbers: list[int]) -> None:
    seen, model = sequence.runs(numbers), set(numbers)
    assert [n for n in range(70) if sequence.holds(seen, n)] == sorted(model)
    assert all(a[1] < b[0] for a, b in zip(seen, seen[1:], strict=False)), "runs touch"
    upto = sequence.upto(seen)
    assert all(n in model for n in range(1, upto + 1)) and upto + 1 not in model


@given(st.lists(st.integers(1, 60)), st.integers(1, 50))
def test_the_first_numbers_of_runs(numbers: list[int], limit: int) -> None:
    assert sequence.first_of(sequence.runs(numbers), limit) == sorted(set(numbers))[:limit]


def test_a_wide_gap_costs_nothing() -> None:
    assert sequence.first_of([(2, 10**15)], 3) == [2, 3, 4]
