"""The latest value is the newest by the device's clock, whatever comes last."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.latest import LatestValues
from store.series.readings import ReadingColumns


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 3000), st.integers(1, 50), st.floats(0, 9)),
            min_size=1,
            max_size=8,
        ),
        max_size=6,
    )
)
def test_the_newest_counts(batches: list[list[tuple[int, int, float]]]) -> None:
    latest, model = LatestValues(), dict[int, tuple[int, float]]()
    told: dict[int, tuple[int, float]] = {}
    for batch in batches:
        point, at, value = (np.array(column) for column in zip(*batch, strict=True))
        latest.offer(
            ReadingColumns(
                at=at.astype(np.int64), point=point.astype(np.int32), value=value.astype(float)
            )
        )
        for one, when, what in batch:
            # Of the same instant any value may count: ingest never stores two.
            if when > model.get(one, (0, 0.0))[0]:
                model[one] = (when, what)
        while (taken := latest.take(3)) is not None:
            told |= {int(p): (int(t), float(v)) for p, t, v in zip(*taken, strict=True)}
    assert {p: t for p, (t, _) in told.items()} == {p: t for p, (t, _) in model.items()}
    assert latest.take(3) is None
