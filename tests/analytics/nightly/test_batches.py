"""Estates of one zone are put together into batches of similar size, each estate once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from analytics.nightly.run import UNITS_PER_BATCH, batches_by_zone
from store.analytics.nights import NightEstate


@given(
    st.dictionaries(
        st.integers(1, 500),
        st.tuples(st.sampled_from(["Asia/Shanghai", "UTC"]), st.integers(0, 9_000)),
        max_size=60,
    )
)
def test_estates_are_worked_off_together_up_to_a_bound(estates: dict[int, tuple[str, int]]) -> None:
    rows = [
        NightEstate(id=number, code=f"es-{number}", timezone=zone, unit_count=units)
        for number, (zone, units) in estates.items()
    ]
    batches = list(batches_by_zone(rows))
    assert sorted(number for batch in batches for number in batch.estates) == sorted(estates)
    for batch in batches:
        members = list(batch.estates)
        assert members == sorted(members)
        assert {estates[number][0] for number in members} == {batch.zone.key}
        units = sum(estates[number][1] for number in members)
        assert len(members) == 1 or units <= UNITS_PER_BATCH
