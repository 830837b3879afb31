"""A share lies within its interval, and few tries say little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.proportions import rate


def test_wilsons_interval() -> None:
    # E. B. Wilson's example in every textbook: 10 of 100.
    found = rate(10, 100)
    assert found.rate == 0.1
    assert [found.low, found.high] == pytest.approx([0.0552, 0.1744], abs=2e-4)
    assert rate(0, 0).rate is None and rate(0, 20).high > 0.1


@given(st.integers(0, 500), st.integers(0, 500))
def test_an_interval_holds_its_rate(hits: int, more: int) -> None:
    found = rate(hits, hits + more)
    assert found.rate is None or 0 <= found.low <= found.rate <= found.high <= 1
