"""What a day says: a leak is not use, a tap opened now and then is a visit, what is the same every
day is a machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analytics import presence
from tests.analytics.detectors.test_golden import frame_of


def read(*spans: dict[str, Any], **case: Any) -> presence.Presence:
    return presence.read_presence(
        frame_of({"spans": list(spans), **case}), presence.PresenceParams()
    )


LIFE = {"water": "used", "kwh": 6.0}


def test_a_tap_between_quiet_days_is_a_visit_and_beside_a_lived_in_day_it_is_use() -> None:
    p = read(
        {"days": 40, **LIFE},
        {"days": 5, "water": "quiet"},
        {"days": 1, "water": "tap"},
        {"days": 5, "water": "quiet"},
        {"days": 1, "water": "tap"},
        {"days": 5, **LIFE},
    )
    assert p.visited[0].nonzero()[0].tolist() == [45]
    assert p.water_used[0, 51] and not p.living[0, 45] and p.empty[0, 45]


def test_three_taps_a_week_are_no_visits() -> None:
    week = [{"days": 1, "water": "tap"}, {"days": 1, "water": "quiet"}]
    p = read({"days": 40, **LIFE}, *week * 10)
    assert not p.visited[0, 43:57].any()


def test_what_is_the_same_every_day_is_a_machine() -> None:
    even = read({"days": 40, **LIFE}, {"days": 30, "kwh": 3.0, "water": "quiet"})
    assert not even.energy_lived[0, 41:].any() and even.energy_quiet[0, 41:].all()
    days = [{"days": 1, "kwh": k, "water": "quiet"} for k in (2.6, 3.4, 3.9) * 10]
    odd = read({"days": 40, **LIFE}, *days)
    assert odd.energy_lived[0, 40:].any()


def test_a_leak_is_not_use() -> None:
    p = read({"days": 40, **LIFE}, {"days": 10, "water": "flows", "water_l": 216.0})
    assert float(p.used_l[0, 45]) == pytest.approx(0.0, abs=1.0)


def test_nothing_known_says_nothing() -> None:
    p = read({"days": 50})
    for name in ("living", "empty", "visited", "entered", "energy_between"):
        assert not getattr(p, name).any(), name
    assert np.isnan(p.usual_l).all()
