"""Progress against a plain set: whatever the order and however often, it knows what has been seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from domain.sequence import Progress


@given(st.lists(st.integers(1, 60), max_size=200))
def test_progress_is_a_set_with_a_watermark(arrivals: list[int]) -> None:
    progress, model = Progress(), set()
    for seq in arrivals:
        assert progress.see(seq) is (seq not in model)
        model.add(seq)
        assert progress.upto == next(n for n in range(61) if n + 1 not in model)
        assert progress.also == {n for n in model if n > progress.upto}
        top = max(model)
        assert progress.missing() == [n for n in range(progress.upto + 1, top) if n not in model]
