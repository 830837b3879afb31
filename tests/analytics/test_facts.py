"""Work is divided so that every home's days are read once, within a bound, and few read far back for the sake of one."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analytics import facts, nightly

DAY = date(2026, 3, 1)
spans = st.tuples(st.integers(-400, 0), st.integers(0, 3)).map(
    lambda ab: (DAY + timedelta(days=ab[0]), DAY + timedelta(days=ab[1]))
)


@given(st.dictionaries(st.integers(1, 10_000), spans, max_size=80), st.integers(50, 2_000))
def test_every_home_is_read_once_with_all_its_days(
    context: dict[int, facts.Span], bound: int
) -> None:
    reads = list(facts.reads(context, bound))
    assert sorted(unit for units, _, _ in reads for unit in units) == sorted(context)
    for units, low, high in reads:
        assert low == min(context[u][0] for u in units) and high == max(
            context[u][1] for u in units
        )
        days = (high - low).days + 1
        assert len(units) == 1 or len(units) * days <= bound
        assert all(days <= 2 * ((context[u][1] - context[u][0]).days + 1) for u in units)


def test_one_that_was_silent_for_long_makes_no_other_read_far_back() -> None:
    context = {unit: (DAY - timedelta(days=2), DAY) for unit in range(1_000)}
    context[500] = (DAY - timedelta(days=90), DAY)
    (first, low, _), (second, _, _) = facts.reads(context, 3_000)
    assert len(first) == 999 and low == DAY - timedelta(days=2) and second == [500]


@given(
    st.dictionaries(
        st.integers(1, 500),
        st.tuples(st.sampled_from(["Asia/Shanghai", "UTC"]), st.integers(0, 9_000)),
        max_size=60,
    )
)
def test_estates_are_worked_off_together_up_to_a_bound(estates: dict[int, tuple[str, int]]) -> None:
    parts = list(
        nightly.together(
            {e: z for e, (z, _) in estates.items()}, {e: n for e, (_, n) in estates.items() if n}
        )
    )
    assert sorted(e for _, some in parts for e in some) == sorted(estates)
    for zone, some in parts:
        assert some == sorted(some) and {estates[e][0] for e in some} == {zone}
        assert len(some) == 1 or sum(estates[e][1] for e in some) <= nightly.HOMES_TOGETHER
