from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alerting import Acknowledgement, AlertClass, AlertState, Condition, NotAllowed, acknowledged, returned


def test_life_safety_latches_until_a_person_has_seen_it() -> None:
    state = returned(AlertState(alert_class=AlertClass.LIFE_SAFETY))
    assert state.condition is Condition.RETURNED and not state.ended
    assert acknowledged(state).ended


def test_a_lead_ends_when_its_condition_returns() -> None:
    assert returned(AlertState(alert_class=AlertClass.COMPLIANCE)).ended


def test_nobody_acknowledges_twice_or_after_the_end() -> None:
    state = acknowledged(AlertState(alert_class=AlertClass.HAZARD))
    with pytest.raises(NotAllowed, match="already"):
        acknowledged(state)
    with pytest.raises(NotAllowed, match="ended"):
        acknowledged(returned(AlertState(alert_class=AlertClass.HAZARD)))


@given(st.sampled_from(list(AlertClass)), st.lists(st.sampled_from([returned, acknowledged]), max_size=6))
def test_every_path_leads_to_an_end_that_stays(alert_class: AlertClass, steps: list) -> None:  # type: ignore[type-arg]
    state = AlertState(alert_class=alert_class)
    for step in steps:
        before = state
        try:
            state = step(state)
        except NotAllowed:
            assert state == before
        assert not (before.ended and not state.ended)
    both = {returned, acknowledged} <= set(steps)
    if both and state.condition is Condition.RETURNED and state.acknowledgement is Acknowledgement.ACKNOWLEDGED:
        assert state.ended
