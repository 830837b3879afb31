"""The demo's score: every lead is a hit or not, and what ought to be known and is not is missed."""

from __future__ import annotations

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from anju.demo.truth import Hits, is_true_lead, score
from simulators.city import Home, Story
from store.alerts.alerts import Alert

TODAY = date(2026, 6, 1)


def alert(detector: str, subject: str, **more: Any) -> Alert:
    return cast(Alert, SimpleNamespace(detector=detector, subject=subject, **more))


def home(unit: str, story: Story, days_ago: int) -> Home:
    begun = TODAY - timedelta(days=days_ago)
    return cast(Home, SimpleNamespace(unit=unit, story=story, from_day=begun))


def test_a_lead_is_true_where_its_story_is() -> None:
    assert is_true_lead("unoccupied", home("a", Story.LEFT, 1))
    assert not is_true_lead("subletting", home("a", Story.LEFT, 1))
    assert not is_true_lead("over_occupancy", home("a", Story.LEFT, 1))


def test_leads_are_counted_as_true_and_missed() -> None:
    homes = [home("a", Story.LEFT, 100), home("b", Story.LEFT, 29), home("c", Story.SUBLET, 56)]
    leads = [alert("unoccupied", "a"), alert("unoccupied", "c")]
    found = score(leads, [], homes, set(), TODAY).leads
    # b is too fresh to be known, so it is not missed.
    assert found == Hits(reported=2, true=1, existing=2, missed=1)


def test_leaks_and_present_events_are_counted() -> None:
    homes = [home("a", Story.LEAK, 10), home("b", Story.LEAK, 3)]
    smoke = alert(
        "hazard:smoke",
        "smoke-1",
        subject_kind="device",
        condition="active",
        evidence={"device": "smoke-1"},
        reasons=("smoke",),
    )
    over = alert("hazard:smoke", "smoke-2", subject_kind="device", condition="returned")
    leak = alert("continuous_flow", "a", subject_kind="unit")
    found = score([], [smoke, over, leak], homes, {("smoke-1", "smoke"), ("d", "x")}, TODAY)
    assert found.leaks == Hits(reported=1, true=1, existing=1, missed=0)
    assert found.events == Hits(reported=1, true=1, existing=2, missed=1)


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_what_exists_is_reported_or_missed(reported: set[int], existing: set[int]) -> None:
    found = Hits.of(reported, existing, existing)
    assert found.true + found.missed == found.existing
    assert found.true <= found.reported
