"""Every home's days are read once, within a bound, and few are read far back for one."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics.facts import update
from store.series.unit_days import DaySpan

DAY = date(2026, 3, 1)
spans = st.tuples(st.integers(-400, 0), st.integers(0, 3)).map(
    lambda ab: (DAY + timedelta(days=ab[0]), DAY + timedelta(days=ab[1]))
)


@given(st.dictionaries(st.integers(1, 10_000), spans, max_size=80), st.integers(50, 2_000))
def test_every_home_is_read_once_with_all_its_days(context: dict[int, DaySpan], bound: int) -> None:
    reads = list(update.plan_reads(context, bound))
    assert sorted(unit for read in reads for unit in read.units) == sorted(context)
    for read in reads:
        low, high = read.days
        assert low == min(context[unit][0] for unit in read.units)
        assert high == max(context[unit][1] for unit in read.units)
        days = (high - low).days + 1
        assert days == read.day_count
        assert len(read.units) == 1 or len(read.units) * days <= bound
        assert all(days <= 2 * ((context[u][1] - context[u][0]).days + 1) for u in read.units)


def test_one_that_was_silent_for_long_makes_no_other_read_far_back() -> None:
    context = {unit: (DAY - timedelta(days=2), DAY) for unit in range(1_000)}
    context[500] = (DAY - timedelta(days=90), DAY)
    first, second = update.plan_reads(context, 3_000)
    assert len(first.units) == 999 and first.days[0] == DAY - timedelta(days=2)
    assert second.units == [500]


@given(st.dictionaries(st.integers(1, 10_000), spans, max_size=80))
def test_a_block_holds_units_of_the_same_days(context: dict[int, DaySpan]) -> None:
    blocks = list(update.plan_blocks(sorted(context), context))
    assert sorted(unit for block in blocks for unit in block.units) == sorted(context)
    for block in blocks:
        assert len(block.units) <= update.UNITS_PER_BLOCK
        assert {context[unit] for unit in block.units} == {block.days}
