from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    AlertKey,
    AlertState,
    DetectorFamily,
    DetectorName,
    NotAllowed,
    SubjectKind,
    Suppression,
    acknowledged,
    confirmed,
    dismissed,
    restored,
    returned,
    suppressed,
    worsened,
)


def test_life_safety_latches_until_a_person_has_seen_it() -> None:
    state = returned(AlertState(alert_class=AlertClass.LIFE_SAFETY))
    assert state.condition is AlertCondition.RETURNED and not state.ended
    assert acknowledged(state).ended


def test_a_lead_ends_when_its_condition_returns() -> None:
    assert returned(AlertState(alert_class=AlertClass.COMPLIANCE)).ended


def test_nobody_acknowledges_twice_or_after_the_end() -> None:
    state = acknowledged(AlertState(alert_class=AlertClass.HAZARD))
    with pytest.raises(NotAllowed, match="already"):
        acknowledged(state)
    with pytest.raises(NotAllowed, match="ended"):
        acknowledged(returned(AlertState(alert_class=AlertClass.HAZARD)))


@given(
    st.sampled_from(list(AlertClass)),
    st.lists(st.sampled_from([returned, acknowledged]), max_size=6),
)
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
    if (
        both
        and state.condition is AlertCondition.RETURNED
        and state.acknowledgement is Acknowledgement.ACKNOWLEDGED
    ):
        assert state.ended


STEPS = {
    "returned": returned,
    "acknowledged": acknowledged,
    "confirmed": confirmed,
    "dismissed": dismissed,
    "shelved": lambda s: suppressed(s, Suppression.SHELVED, may_suppress_life_safety=False),
    "out_of_service": lambda s: suppressed(
        s, Suppression.OUT_OF_SERVICE, may_suppress_life_safety=False
    ),
    "restored": restored,
    "worsened": worsened,
}


@given(
    st.sampled_from(AlertClass),
    st.booleans(),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=12),
)
def test_whatever_is_done_the_axes_keep_their_laws(
    alert_class: AlertClass, latched: bool, steps: list[str]
) -> None:
    state, seen = AlertState(alert_class=alert_class, latched=latched), False
    for step in steps:
        if step in ("returned", "worsened") and state.ended:
            continue
        try:
            after = STEPS[step](state)
        except NotAllowed as error:
            assert str(error)
            continue
        seen = (seen or step in ("acknowledged", "confirmed", "dismissed")) and step != "worsened"
        if step != "worsened":
            assert not state.ended or after.ended, "history is not taken back"
        if after.ended and state.latches:
            assert seen, "what latches ends only after a person has seen it"
        if alert_class is AlertClass.LIFE_SAFETY:
            assert after.suppression is Suppression.NONE, "an operator holds back no life"
        assert after.condition is state.condition or step == "returned"
        state = after


@given(
    st.sampled_from([None, *DetectorFamily]),
    st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True),
)
def test_a_detectors_name_is_read_as_it_was_written(
    family: DetectorFamily | None, word: str
) -> None:
    name = DetectorName(family=family, word=word)
    assert DetectorName.parse(str(name)) == name


def test_a_text_without_a_known_family_is_a_word_alone() -> None:
    assert DetectorName.parse("other:word") == DetectorName(word="other:word")
    assert str(DetectorName(family=DetectorFamily.HAZARD, word="smoke")) == "hazard:smoke"


def test_keys_differ_by_each_of_their_parts() -> None:
    key = AlertKey(detector="x", subject_kind=SubjectKind.UNIT, subject_id=1)
    others = {
        replace(key, detector="y"),
        replace(key, subject_kind=SubjectKind.DEVICE),
        replace(key, subject_id=2),
        replace(key, dedup_key="z"),
    }
    assert len(others) == 4 and key not in others
