"""When something arrived: by our clock, or, of a recording, when it was sent; and how late that
was.
"""

from __future__ import annotations

import numpy as np

from ingest.arrival import AT_ONCE_S, Arrivals, changed_spans, late_seconds
from store.register.placement import Placement
from store.series.readings import ReadingColumns

NOW = 1_795_220_200_000


def test_only_a_recordings_message_counts_from_when_it_was_sent() -> None:
    arrivals = Arrivals(NOW)
    arrivals.note(1, NOW - 5000, as_sent=True)
    arrivals.note(2, NOW - 5000, as_sent=False)
    arrivals.note(3, None, as_sent=True)
    arrivals.note(4, NOW + 5000, as_sent=True)
    assert [arrivals.at(n) for n in (1, 2, 3, 4)] == [NOW - 5000, NOW, NOW, NOW]


def test_what_comes_at_once_is_not_late() -> None:
    at = np.array([NOW, NOW - 1000 * AT_ONCE_S, NOW - 1000 * (AT_ONCE_S + 1), NOW + 60_000])
    late = late_seconds(at, np.full(4, NOW))
    assert late is not None and late.tolist() == [0, 0, AT_ONCE_S + 1, 0]
    assert late_seconds(at[:2], np.full(2, NOW)) is None


def test_changes_are_told_by_device_and_hour_of_arrival() -> None:
    placement = Placement(clock=lambda: 0.0)
    placement.device_of[[1, 2]] = [10, 20]
    placement.estate_of[[1, 2]] = 7
    hour = 3_600_000
    batch = ReadingColumns(
        at=np.array([5, 3, 9, 4]), point=np.array([1, 1, 1, 2], dtype=np.int32), value=np.zeros(4)
    )
    spans = changed_spans(placement, batch, np.array([hour, hour + 5, 3 * hour, hour]))
    rows = sorted(
        zip(
            spans.device.tolist(),
            spans.low.tolist(),
            spans.high.tolist(),
            spans.received.tolist(),
            strict=True,
        )
    )
    assert rows == [(10, 3, 5, hour + 5), (10, 9, 9, 3 * hour), (20, 4, 4, hour)] and set(
        spans.estate.tolist()
    ) == {7}
