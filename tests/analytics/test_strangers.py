"""Who stays, who visits, and who changes by the week, from nights of which no lock sees all."""

from __future__ import annotations

from typing import Any

import numpy as np

from analytics import strangers
from tests.analytics.detectors.test_golden import frame_of


def read(*spans: dict[str, Any]) -> strangers.StrangerNights:
    return strangers.read_stranger_nights(frame_of({"spans": list(spans)}))


def night(*tokens: int, every: int = 1) -> list[dict[str, Any]]:
    return [{"token": t, "who": 1, "night": True, "every": every} for t in tokens]


def test_somebody_who_is_seen_every_third_night_stays_all_the_while() -> None:
    found = read({"days": 10}, {"days": 60, "tokens": night(5, every=3)}, {"days": 30})
    assert (
        not found.staying[0, :19].any()
        and (found.staying[0, 19:67] == 1).all()
        and not found.staying[0, 75:].any()
    )
    assert not found.several.any() and not found.fleeting.any()


def test_a_weekend_guest_does_not_stay() -> None:
    found = read({"days": 70, "tokens": night(5, every=14)})
    assert not found.staying.any()


def test_two_at_a_time_for_more_than_a_visit_are_several() -> None:
    brief = read({"days": 10}, {"days": 12, "tokens": night(1, 2)}, {"days": 40})
    long = read({"days": 10}, {"days": 40, "tokens": night(1, 2)}, {"days": 10})
    assert not brief.several.any() and long.several[0, 40]


def test_guests_who_change_by_the_week_are_counted_when_their_time_is_over() -> None:
    weeks = [{"days": 4, "tokens": night(100 + n)} for n in range(8)]
    found = read(*[span for week in weeks for span in (week, {"days": 3})])
    assert np.sum(found.fleeting > 0) >= 12 and not found.several.any()
    once = read({"days": 4, "tokens": night(7)}, {"days": 60})
    assert not once.fleeting.any()
