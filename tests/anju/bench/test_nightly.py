"""The night's benchmark measures a night that does its work.

The homes that were left are found, and every part took its time.
"""

from __future__ import annotations

from datetime import date

import pytest

from anju.bench import nightly
from anju.services import meter_bounds

pytestmark = pytest.mark.real


def test_a_small_night_is_measured(dsn: str) -> None:
    night = nightly.measure(dsn, 150, meter_bounds(None), date(2026, 3, 1), 2, print)
    assert night.units == 150 and night.unit_days >= 150 and 1 <= night.findings <= 15
    assert (
        night.whole_s > 0
        and night.read_s > 0
        and night.detect_s > night.pass_s > 0
        and night.peak_bytes > 10**7
    )
